/* A model is written: its fields, then what is beside them, then what is computed from it. */
#include "schema_encoder.h"

#include "json_lua.h"

#include <lauxlib.h>
#include <string.h>

enum { CLASS_UNKNOWN, CLASS_NONE, CLASS_FOUND };

/* A model's value under work. */
struct subject {
    const struct peri_model *model;
    const struct peri_loc *loc;
    int index;      /* of the value */
    int set_names;  /* of the names that were set; 0: what is there is set */
    bool is_object; /* userdata: fields are read through __index */
    uint8_t class;  /* a table: whether it has those that it lacks; looked at when one is missing */
    bool first;     /* nothing is written yet */
};

/* Whether the value is a table whose class, as Lua has them, may have further fields. The
 * metatables of our own values have methods only. */
static bool has_class(lua_State *L, struct subject *subject)
{
    if (subject->class == CLASS_UNKNOWN) {
        int top = lua_gettop(L);
        bool found = lua_getmetatable(L, subject->index) &&
                     lua_rawgetp(L, top + 1, &peri_json_members) == LUA_TNIL &&
                     lua_getfield(L, top + 1, "__index") != LUA_TNIL;
        lua_settop(L, top);
        subject->class = found ? CLASS_FOUND : CLASS_NONE;
    }
    return subject->class == CLASS_FOUND;
}

/* Pushes the value of a field, looked up by its name in Lua, then by its name on the wire. */
static int push_field(struct peri_encoder *e, struct subject *subject,
                      const struct peri_member *member)
{
    lua_State *L = e->L;
    lua_rawgeti(L, e->lua_values, member->key);
    if (subject->is_object)
        return lua_gettable(L, subject->index);
    int kind = lua_rawget(L, subject->index);
    if (kind == LUA_TNIL && member->has_alias) {
        lua_pop(L, 1);
        lua_pushlstring(L, member->wire.data, member->wire.len);
        kind = lua_rawget(L, subject->index);
    }
    if (kind == LUA_TNIL && has_class(L, subject)) { /* a field that its class has, or computes */
        lua_pop(L, 1);
        lua_rawgeti(L, e->lua_values, member->key);
        kind = lua_gettable(L, subject->index);
    }
    return kind;
}

/* Whether the value on top of the stack is the default: their JSON texts are the same. */
static bool is_default(struct peri_encoder *e, const struct peri_type *type)
{
    lua_State *L = e->L;
    if (type->fallback == NULL)
        return type->optional && peri_is_null(L, -1);
    if (type->fallback->node == NULL)
        return false;
    if (peri_is_null(L, -1))
        return type->fallback->node->type == PERI_JSON_NULL;
    size_t start = e->out->len;
    int value = lua_gettop(L);
    bool same = peri_encode(e, value, type, peri_filter_none, NULL);
    size_t middle = e->out->len;
    if (same) {
        struct peri_push push = {.L = L,
                                 .lua_values = e->lua_values,
                                 .result = peri_encoder_scratch(e),
                                 .mode = PERI_MODE_VALUE};
        if (type->fallback->values != NULL)
            peri_value_push(&push, type->fallback->values);
        else
            peri_node_push(&push, type->fallback->node);
        same = peri_encode(e, lua_gettop(L), type, peri_filter_none, NULL) &&
               e->out->len - middle == middle - start &&
               memcmp(e->out->data + start, e->out->data + middle, middle - start) == 0;
    }
    e->out->len = start;
    lua_settop(L, value);
    return same;
}

static bool was_set(struct peri_encoder *e, const struct subject *subject,
                    const struct peri_member *member, bool present)
{
    if (subject->set_names == 0)
        return present;
    lua_rawgeti(e->L, e->lua_values, member->key);
    bool set = lua_rawget(e->L, subject->set_names) != LUA_TNIL;
    lua_pop(e->L, 1);
    /* Handlers may have assigned the field since: then it differs from its default. */
    return set || (present && !is_default(e, member->type));
}

static void push_fallback(struct peri_encoder *e, const struct peri_default *fallback)
{
    if (fallback->function != 0) {
        lua_rawgeti(e->L, e->lua_values, fallback->function);
        lua_call(e->L, 0, 1);
        return;
    }
    struct peri_push push = {.L = e->L,
                             .lua_values = e->lua_values,
                             .result = peri_encoder_scratch(e),
                             .mode = PERI_MODE_VALUE};
    if (fallback->values != NULL)
        peri_value_push(&push, fallback->values);
    else
        peri_node_push(&push, fallback->node);
}

static void write_key(struct peri_encoder *e, struct subject *subject, struct peri_text json)
{
    if (!subject->first)
        peri_buf_add_byte(e->out, ',');
    subject->first = false;
    peri_buf_add(e->out, json.data, json.len);
}

/* A member whose value is a scalar that is just what its type wants. False leaves it to
 * encode_member(); nothing has happened then. */
static inline bool encode_plain_member(struct peri_encoder *e, struct subject *subject,
                                       const struct peri_member *member)
{
    const struct peri_type *type = member->type;
    if (type->kind > PERI_KIND_BOOLEAN || type->serializer != NULL)
        return false;
    const size_t start = e->out->len;
    const bool first = subject->first;
    lua_rawgeti(e->L, e->lua_values, member->key);
    lua_rawget(e->L, subject->index);
    write_key(e, subject, e->program->options.by_name ? member->json_name : member->json_wire);
    bool done = peri_encode_plain(e, -1, type);
    if (!done) {
        e->out->len = start;
        subject->first = first;
    }
    lua_pop(e->L, 1);
    return done;
}

static bool encode_member(struct peri_encoder *e, struct subject *subject,
                          const struct peri_member *member, struct peri_filter filter)
{
    lua_State *L = e->L;
    const struct peri_encode_options *options = &e->program->options;
    const struct peri_type *type = member->type;
    const struct peri_loc loc = {
        .up = subject->loc, .name = member->wire.data, .len = member->wire.len};
    bool wanted = true;
    struct peri_filter own =
        peri_filter_named(filter, member->name.data, member->name.len, &wanted);
    bool present = push_field(e, subject, member) != LUA_TNIL;
    int value = lua_gettop(L);
    if (!present && type->fallback == NULL && !type->optional && !type->nullable)
        return peri_encode_fail(e, &loc, subject->index, PERI_ERROR_MISSING);
    bool keep = wanted;
    if (keep && options->exclude_unset)
        keep = was_set(e, subject, member, present);
    if (keep && !present && type->fallback != NULL) {
        lua_pop(L, 1);
        push_fallback(e, type->fallback);
    }
    if (keep && options->exclude_none)
        keep = wanted = !peri_is_null(L, value);
    if (keep && options->exclude_defaults)
        keep = !is_default(e, type);
    bool sound = true;
    if (keep) {
        write_key(e, subject, options->by_name ? member->json_name : member->json_wire);
        /* A default is taken as it stands, also where it does not fit its type. */
        if (!present && peri_is_null(L, value))
            peri_buf_add_lit(e->out, "null");
        else
            sound = peri_encode(e, value, type, own, &loc);
    } else if (!wanted && present) {
        sound = peri_encode_aside(e, value, type, &loc);
    }
    if (sound)
        lua_settop(L, value - 1);
    return sound;
}

static bool is_field(const struct peri_model *model, const char *name, size_t len)
{
    if (peri_model_find(model, name, len) != NULL)
        return true;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct peri_member *member = &model->members[i];
        if (member->has_alias && member->name.len == len &&
            memcmp(member->name.data, name, len) == 0)
            return true;
    }
    return false;
}

/* The member whose name and value are at `key` and behind it, unless it is a field. */
static bool encode_extra(struct peri_encoder *e, struct subject *subject, struct peri_filter filter,
                         int key)
{
    lua_State *L = e->L;
    struct peri_loc loc = peri_encode_loc(e, key, subject->loc);
    bool keep = true;
    if (loc.name == NULL || is_field(subject->model, loc.name, loc.len))
        return true;
    if (subject->model->extra == PERI_EXTRA_FORBID)
        return peri_encode_fail(e, &loc, key + 1, PERI_ERROR_EXTRA_FORBIDDEN);
    peri_filter_named(filter, loc.name, loc.len, &keep);
    if (!keep || (e->program->options.exclude_none && peri_is_null(L, key + 1)))
        return true;
    write_key(e, subject, (struct peri_text){NULL, 0});
    peri_json_add_string(e->out, loc.name, loc.len);
    peri_buf_add_byte(e->out, ':');
    return peri_encode_untyped(e, key + 1, &loc);
}

/* First the ones that a client sent, in its order, then those the app has put in. */
static bool encode_extras(struct peri_encoder *e, struct subject *subject,
                          struct peri_filter filter)
{
    lua_State *L = e->L;
    int sent = peri_json_push_extras(L, subject->index) ? lua_gettop(L) : 0;
    lua_Integer count = sent != 0 ? (lua_Integer) lua_rawlen(L, sent) : 0;
    int key = lua_gettop(L) + 1;
    for (lua_Integer i = 1; i <= count; i++, lua_settop(L, key - 1)) {
        lua_rawgeti(L, sent, i);
        lua_pushvalue(L, key);
        if (lua_rawget(L, subject->index) != LUA_TNIL && !encode_extra(e, subject, filter, key))
            return false;
    }
    for (lua_pushnil(L); lua_next(L, subject->index); lua_settop(L, key)) {
        lua_pushvalue(L, key);
        bool known = sent != 0 && lua_rawget(L, sent) != LUA_TNIL;
        lua_settop(L, key + 1);
        if (!known && !encode_extra(e, subject, filter, key))
            return false;
    }
    return true;
}

static bool encode_computed(struct peri_encoder *e, struct subject *subject,
                            struct peri_filter filter)
{
    lua_State *L = e->L;
    for (uint32_t i = 0; i < subject->model->computed_count; i++) {
        const struct peri_computed *computed = &subject->model->computed[i];
        const struct peri_loc loc = {
            .up = subject->loc, .name = computed->name.data, .len = computed->name.len};
        bool keep = true;
        struct peri_filter own =
            peri_filter_named(filter, computed->name.data, computed->name.len, &keep);
        if (!keep)
            continue;
        lua_rawgeti(L, e->lua_values, computed->function);
        lua_pushvalue(L, subject->index);
        lua_call(L, 1, 1);
        if (!(e->program->options.exclude_none && peri_is_null(L, -1))) {
            write_key(e, subject, computed->json_name);
            if (!peri_encode(e, lua_gettop(L), computed->type, own, &loc))
                return false;
        }
        lua_pop(L, 1);
    }
    return true;
}

bool peri_encode_model(struct peri_encoder *e, int index, const struct peri_type *type,
                       struct peri_filter filter, const struct peri_loc *loc)
{
    lua_State *L = e->L;
    struct subject subject = {.model = &type->model, .loc = loc, .index = index, .first = true};
    int top = lua_gettop(L);
    if (lua_type(L, index) == LUA_TUSERDATA && luaL_getmetafield(L, index, "__index")) {
        lua_pop(L, 1);
        subject.is_object = true;
    }
    if (!subject.is_object && (lua_type(L, index) != LUA_TTABLE || lua_rawlen(L, index) > 0)) {
        struct peri_run run;
        return peri_encode_whole(e, index, type, loc, &run);
    }
    if (e->program->options.exclude_unset && peri_push_set_names(L, index))
        subject.set_names = lua_gettop(L);
    peri_buf_add_byte(e->out, '{');
    const struct peri_encode_options *options = &e->program->options;
    bool plain = !subject.is_object && filter.include == NULL && filter.exclude == NULL &&
                 !options->exclude_unset && !options->exclude_defaults;
    for (uint32_t i = 0; i < type->model.count; i++) {
        const struct peri_member *member = &type->model.members[i];
        if (!(plain && encode_plain_member(e, &subject, member)) &&
            !encode_member(e, &subject, member, filter))
            return false;
    }
    if (type->model.extra != PERI_EXTRA_IGNORE && !subject.is_object &&
        !encode_extras(e, &subject, filter))
        return false;
    if (!encode_computed(e, &subject, filter))
        return false;
    peri_buf_add_byte(e->out, '}');
    lua_settop(L, top);
    return true;
}
