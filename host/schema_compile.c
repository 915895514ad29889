/* Node tables of Lua become struct peri_type. Runs at load, so a mistake in a declaration is raised
 * with the place inside the type: "Item.price: gt must be a number". */
#include "schema_compile.h"
#include "json_lua.h"
#include "schema_string.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum peri_kind kind;
} kinds[] = {
    {"string", PERI_KIND_STRING},     {"integer", PERI_KIND_INTEGER}, {"number", PERI_KIND_NUMBER},
    {"boolean", PERI_KIND_BOOLEAN},   {"null", PERI_KIND_NULL},       {"any", PERI_KIND_ANY},
    {"bytes", PERI_KIND_BYTES},       {"secret", PERI_KIND_SECRET},   {"uuid", PERI_KIND_UUID},
    {"datetime", PERI_KIND_DATETIME}, {"date", PERI_KIND_DATE},       {"time", PERI_KIND_TIME},
    {"duration", PERI_KIND_DURATION}, {"decimal", PERI_KIND_DECIMAL}, {"url", PERI_KIND_URL},
    {"email", PERI_KIND_EMAIL},       {"ipv4", PERI_KIND_IPV4},       {"ipv6", PERI_KIND_IPV6},
    {"enum", PERI_KIND_ENUM},         {"literal", PERI_KIND_LITERAL}, {"array", PERI_KIND_ARRAY},
    {"set", PERI_KIND_SET},           {"tuple", PERI_KIND_TUPLE},     {"map", PERI_KIND_MAP},
    {"object", PERI_KIND_MODEL},      {"model", PERI_KIND_MODEL},     {"union", PERI_KIND_UNION},
    {"tagged", PERI_KIND_TAGGED},     {"file", PERI_KIND_FILE},       {"ref", PERI_KIND_REF},
};

const char *peri_kind_name(enum peri_kind kind)
{
    size_t i = 0;
    while (kinds[i].kind != kind)
        i++;
    return kinds[i].name;
}

void *peri_compile_take(struct peri_compiler *c, size_t size)
{
    void *memory = peri_arena_take(&c->types->arena, size);
    memset(memory, 0, size);
    return memory;
}

/* ---------------------------------------------------- reading Lua tables --- */

static void push_place(luaL_Buffer *text, const struct peri_place *place)
{
    if (place->up != NULL) {
        push_place(text, place->up);
        if (*place->name != '[')
            luaL_addchar(text, '.');
    }
    luaL_addstring(text, place->name);
}

int peri_compile_fail(struct peri_compiler *c, const struct peri_place *place, const char *message)
{
    luaL_Buffer text;
    lua_State *L = c->L;
    luaL_buffinit(L, &text);
    push_place(&text, place);
    luaL_addstring(&text, ": ");
    luaL_addstring(&text, message);
    luaL_pushresult(&text);
    return lua_error(L);
}

/* Pushes node[name] without metamethods and returns its type. */
int peri_compile_get(struct peri_compiler *c, int node, const char *name)
{
    lua_pushstring(c->L, name);
    return lua_rawget(c->L, node);
}

bool peri_compile_flag(struct peri_compiler *c, int node, const char *name)
{
    peri_compile_get(c, node, name);
    bool flag = lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    return flag;
}

/* A copy in the memory of the types of the string at `index`. */
struct peri_text peri_compile_keep_string(struct peri_compiler *c, int index)
{
    size_t len = 0;
    const char *text = lua_tolstring(c->L, index, &len);
    char *copy = peri_arena_take(&c->types->arena, len + 1);
    memcpy(copy, text, len + 1);
    return (struct peri_text){copy, (uint32_t) len};
}

struct peri_text peri_compile_keep_text(struct peri_compiler *c, const struct peri_buf *text)
{
    char *copy = peri_arena_take(&c->types->arena, text->len + 1);
    if (text->len > 0)
        memcpy(copy, text->data, text->len);
    copy[text->len] = '\0';
    return (struct peri_text){copy, (uint32_t) text->len};
}

struct peri_text peri_compile_text(struct peri_compiler *c, int node, const char *name)
{
    struct peri_text text = {0};
    if (peri_compile_get(c, node, name) == LUA_TSTRING)
        text = peri_compile_keep_string(c, -1);
    lua_pop(c->L, 1);
    return text;
}

bool peri_compile_size(struct peri_compiler *c, int node, const struct peri_place *place,
                       const char *name, uint32_t *out)
{
    bool present = peri_compile_get(c, node, name) != LUA_TNIL;
    int whole = 0;
    lua_Integer value = lua_tointegerx(c->L, -1, &whole);
    lua_pop(c->L, 1);
    if (present && (!whole || value < 0 || value > INT32_MAX))
        peri_compile_fail(c, place, lua_pushfstring(c->L, "%s must be a count", name));
    *out = (uint32_t) value;
    return present;
}

/* Two counts that bound a length; `legacy` names are those of min_items. */
void peri_compile_sizes(struct peri_compiler *c, int node, const struct peri_place *place,
                        const char *unit, uint32_t *min, bool *has_min, uint32_t *max,
                        bool *has_max)
{
    const char *name = lua_pushfstring(c->L, "min_%s", unit);
    *has_min = peri_compile_size(c, node, place, name, min);
    name = lua_pushfstring(c->L, "max_%s", unit);
    *has_max = peri_compile_size(c, node, place, name, max);
    lua_pop(c->L, 2);
}

/* Moves the value on top to the program's Lua values. */
int peri_compile_keep_lua(struct peri_compiler *c)
{
    lua_rawseti(c->L, c->lua_values, ++c->types->lua_count);
    return c->types->lua_count;
}

/* ----------------------------------------------------------- collections --- */

/* The type of the node on top of the stack, which is popped. */
struct peri_type *peri_compile_top(struct peri_compiler *c, const struct peri_scope *scope,
                                   const char *step)
{
    struct peri_scope inner = {{&scope->place, step}, scope->strict};
    struct peri_type *type = peri_compile(c, lua_gettop(c->L), &inner);
    lua_pop(c->L, 1);
    return type;
}

static const struct peri_type any_type = {.kind = PERI_KIND_ANY, .label = {"any", 3}};
static const struct peri_type string_type = {.kind = PERI_KIND_STRING, .label = {"str", 3}};

/* The type of node[name]; `otherwise` when there is none. */
const struct peri_type *peri_compile_part(struct peri_compiler *c, int node,
                                          const struct peri_scope *scope, const char *name,
                                          const struct peri_type *otherwise)
{
    if (peri_compile_get(c, node, name) == LUA_TNIL) {
        lua_pop(c->L, 1);
        return otherwise;
    }
    return peri_compile_top(c, scope, name);
}

/* The types of the list on top of the stack, which is popped. */
static const struct peri_type **compile_list(struct peri_compiler *c,
                                             const struct peri_scope *scope, uint32_t *count)
{
    *count = (uint32_t) lua_rawlen(c->L, -1);
    const struct peri_type **types =
        peri_compile_take(c, (*count + 1) * sizeof(struct peri_type *));
    for (uint32_t i = 0; i < *count; i++) {
        char step[16];
        snprintf(step, sizeof(step), "[%u]", i + 1);
        lua_rawgeti(c->L, -1, i + 1);
        types[i] = peri_compile_top(c, scope, step);
    }
    lua_pop(c->L, 1);
    return types;
}

static void compile_array(struct peri_compiler *c, int node, const struct peri_scope *scope,
                          struct peri_type *type)
{
    peri_compile_sizes(c, node, &scope->place, "items", &type->array.min, &type->array.has_min,
                       &type->array.max, &type->array.has_max);
    type->array.unique = peri_compile_flag(c, node, "unique");
    type->array.item = peri_compile_part(c, node, scope, "item", &any_type);
}

static void compile_tuple(struct peri_compiler *c, int node, const struct peri_scope *scope,
                          struct peri_type *type)
{
    peri_compile_sizes(c, node, &scope->place, "items", &type->tuple.min, &type->tuple.has_min,
                       &type->tuple.max, &type->tuple.has_max);
    if (peri_compile_get(c, node, "items") == LUA_TTABLE)
        type->tuple.items = compile_list(c, scope, &type->tuple.count);
    else
        lua_pop(c->L, 1);
    type->tuple.rest = peri_compile_part(c, node, scope, "rest", NULL);
}

static void compile_map(struct peri_compiler *c, int node, const struct peri_scope *scope,
                        struct peri_type *type)
{
    peri_compile_sizes(c, node, &scope->place, "items", &type->map.min, &type->map.has_min,
                       &type->map.max, &type->map.has_max);
    type->map.key = peri_compile_part(c, node, scope, "key", &string_type);
    type->map.value = peri_compile_part(c, node, scope, "value", &any_type);
}

/* A member that adds nothing of its own to being null or a union. */
static bool dissolves(const struct peri_type *member)
{
    return member->fallback == NULL && member->checks == NULL;
}

/* Whether a scalar type says nothing but its kind. */
static bool is_plain_scalar(const struct peri_type *type)
{
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_STRING:
    case PERI_KIND_BYTES:
    case PERI_KIND_SECRET:
        return !type->string.has_min && !type->string.has_max && !type->string.pattern &&
               !type->string.strip && !type->string.lower && !type->string.upper;
    case PERI_KIND_INTEGER:
        return type->integer.present == 0;
    case PERI_KIND_NUMBER:
        return type->number.bounds.present == 0 && !type->number.finite;
    case PERI_KIND_DECIMAL:
        return type->decimal.bounds.present == 0 && !type->decimal.bounds.check_digits &&
               !type->decimal.bounds.check_places;
    case PERI_KIND_DATETIME:
    case PERI_KIND_DATE:
    case PERI_KIND_TIME:
    case PERI_KIND_DURATION:
        return type->temporal.present == 0;
    case PERI_KIND_URL:
        return !type->url.has_max && type->url.schemes == NULL;
    default:
        return type->kind <= PERI_KIND_IPV6;
    }
}

static bool is_repeated(const struct peri_type *const *members, uint32_t count,
                        const struct peri_type *type)
{
    if (!is_plain_scalar(type) || !dissolves(type))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (members[i]->kind == type->kind && members[i]->strict == type->strict &&
            is_plain_scalar(members[i]))
            return true;
    }
    return false;
}

/* As Python's typing: unions within unions are one union, and a null among the members, or one that
 * may be null, makes all of it nullable. */
static void flatten_members(struct peri_compiler *c, struct peri_type *type,
                            const struct peri_type **members, uint32_t count)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += members[i]->kind == PERI_KIND_UNION ? members[i]->any_of.count : 1;
    const struct peri_type **flat = peri_compile_take(c, (total + 1) * sizeof(struct peri_type *));
    uint32_t kept = 0;
    bool nullable = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct peri_type *member = members[i];
        nullable = nullable || member->nullable || member->kind == PERI_KIND_NULL;
        if (member->kind == PERI_KIND_UNION && dissolves(member)) {
            for (uint32_t j = 0; j < member->any_of.count; j++)
                flat[kept++] = member->any_of.members[j];
        } else if (!(member->kind == PERI_KIND_NULL && dissolves(member)) &&
                   !is_repeated(flat, kept, member)) {
            flat[kept++] = member;
        }
    }
    if (kept == 0) /* only nulls */
        flat[kept++] = members[0];
    type->any_of.members = flat;
    type->any_of.count = kept;
    type->nullable = type->nullable || nullable;
}

static void compile_union(struct peri_compiler *c, int node, const struct peri_scope *scope,
                          struct peri_type *type)
{
    if (peri_compile_get(c, node, "members") != LUA_TTABLE || lua_rawlen(c->L, -1) == 0)
        peri_compile_fail(c, &scope->place, "members must be a list of types");
    uint32_t count = 0;
    const struct peri_type **members = compile_list(c, scope, &count);
    flatten_members(c, type, members, count);
}

static void compile_tagged(struct peri_compiler *c, int node, const struct peri_scope *scope,
                           struct peri_type *type)
{
    type->tagged.tag = peri_compile_text(c, node, "tag");
    if (type->tagged.tag.data == NULL)
        peri_compile_fail(c, &scope->place, "tag must be the name of a field");
    if (peri_compile_get(c, node, "cases") != LUA_TTABLE || lua_rawlen(c->L, -1) == 0)
        peri_compile_fail(c, &scope->place, "cases must be a list of { tag, type }");
    int list = lua_gettop(c->L);
    type->tagged.count = (uint32_t) lua_rawlen(c->L, list);
    struct peri_case *cases = peri_compile_take(c, type->tagged.count * sizeof(*cases));
    struct peri_buf expected = {0};
    struct peri_buf shown = {0};
    peri_repr_text(&shown, type->tagged.tag);
    type->tagged.shown = peri_compile_keep_text(c, &shown);
    peri_buf_deinit(&shown);
    for (uint32_t i = 0; i < type->tagged.count; i++) {
        if (lua_rawgeti(c->L, list, i + 1) != LUA_TTABLE)
            peri_compile_fail(c, &scope->place, "cases must be a list of { tag, type }");
        int entry = lua_gettop(c->L);
        if (lua_rawgeti(c->L, entry, 1) == LUA_TNIL) {
            lua_pop(c->L, 1);
            peri_compile_get(c, entry, "tag");
        }
        cases[i].tag = peri_compile_constant(c, scope);
        lua_pop(c->L, 1);
        if (lua_rawgeti(c->L, entry, 2) == LUA_TNIL) {
            lua_pop(c->L, 1);
            peri_compile_get(c, entry, "type");
        }
        cases[i].type = peri_compile_top(c, scope, "case");
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    for (uint32_t i = 0; i < type->tagged.count; i++) {
        if (i > 0)
            peri_buf_add_lit(&expected, ", ");
        peri_repr_constant(&expected, &cases[i].tag);
    }
    type->tagged.cases = cases;
    type->tagged.expected = peri_compile_keep_text(c, &expected);
    peri_buf_deinit(&expected);
}

/* ---------------------------------------------------------------- models --- */

static lua_Integer get_seq(struct peri_compiler *c, int entry)
{
    lua_rawgeti(c->L, entry, 2);
    lua_Integer seq = 0;
    if (lua_type(c->L, -1) == LUA_TTABLE) {
        peri_compile_get(c, lua_gettop(c->L), "seq");
        seq = lua_tointeger(c->L, -1);
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    return seq;
}

/* Whether the entry on top of the stack stands behind the one below it. */
static bool is_behind(struct peri_compiler *c)
{
    int later = lua_gettop(c->L);
    int earlier = later - 1;
    lua_Integer a = get_seq(c, earlier);
    lua_Integer b = get_seq(c, later);
    if (a != b)
        return b > a;
    lua_rawgeti(c->L, earlier, 1);
    lua_rawgeti(c->L, later, 1);
    bool behind = strcmp(lua_tostring(c->L, -2), lua_tostring(c->L, -1)) > 0 ? false : true;
    lua_pop(c->L, 2);
    return behind;
}

/* Replaces the map of fields on top of the stack by a list of { name, type } in the order of seq.
 */
static void order_fields(struct peri_compiler *c, const struct peri_scope *scope)
{
    lua_State *L = c->L;
    int map = lua_gettop(L);
    lua_newtable(L);
    int list = map + 1;
    int count = 0;
    for (lua_pushnil(L); lua_next(L, map);) {
        if (lua_type(L, -2) != LUA_TSTRING)
            peri_compile_fail(c, &scope->place, "fields must have names");
        lua_createtable(L, 2, 0);
        lua_pushvalue(L, -3);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, 2);
        int at = count++; /* insertion sort: models are small, and this runs once */
        for (; at > 0; at--) {
            lua_rawgeti(L, list, at);
            lua_pushvalue(L, -2);
            bool behind = is_behind(c);
            lua_pop(L, 1);
            if (behind) {
                lua_pop(L, 1);
                break;
            }
            lua_rawseti(L, list, at + 1);
        }
        lua_rawseti(L, list, at + 1);
        lua_pop(L, 1);
    }
    lua_remove(L, map);
}

static struct peri_text quoted_key(struct peri_compiler *c, struct peri_text name)
{
    struct peri_buf text = {0};
    peri_json_add_string(&text, name.data, name.len);
    peri_buf_add_byte(&text, ':');
    struct peri_text kept = peri_compile_keep_text(c, &text);
    peri_buf_deinit(&text);
    return kept;
}

/* The field whose { name, type } or { name =, type = } is on top of the stack. */
static void compile_member(struct peri_compiler *c, const struct peri_scope *scope,
                           struct peri_member *member)
{
    int entry = lua_gettop(c->L);
    if (lua_type(c->L, entry) != LUA_TTABLE)
        peri_compile_fail(c, &scope->place, "a field must be { name = ..., type = ... }");
    if (peri_compile_get(c, entry, "name") == LUA_TNIL) {
        lua_pop(c->L, 1);
        lua_rawgeti(c->L, entry, 1);
    }
    if (lua_type(c->L, -1) != LUA_TSTRING)
        peri_compile_fail(c, &scope->place, "a field needs a name");
    member->name = peri_compile_keep_string(c, -1);
    member->key = peri_compile_keep_lua(c);
    if (peri_compile_get(c, entry, "type") == LUA_TNIL) {
        lua_pop(c->L, 1);
        lua_rawgeti(c->L, entry, 2);
    }
    int node = lua_gettop(c->L);
    if (lua_type(c->L, node) == LUA_TTABLE)
        member->wire = peri_compile_text(c, node, "alias");
    member->is_file = peri_compile_flag(c, entry, "file");
    member->has_alias = member->wire.data != NULL;
    if (!member->has_alias)
        member->wire = member->name;
    member->json_wire = quoted_key(c, member->wire);
    member->json_name = quoted_key(c, member->name);
    member->type = peri_compile_top(c, scope, member->name.data);
}

void peri_model_index(struct peri_arena *arena, struct peri_model *model)
{
    uint32_t size = 4;
    while (size < 2 * model->count + 1)
        size *= 2;
    model->slot_mask = size - 1;
    model->slots = peri_arena_take(arena, size * sizeof(*model->slots));
    memset(model->slots, 0, size * sizeof(*model->slots));
    for (uint32_t i = 0; i < model->count; i++) {
        uint32_t slot = peri_hash(model->members[i].wire.data, model->members[i].wire.len);
        while (model->slots[slot & model->slot_mask] != 0)
            slot++;
        model->slots[slot & model->slot_mask] = (uint16_t) (i + 1);
    }
}

/* Fields of the table node.fields, into the model. */
void peri_compile_fields(struct peri_compiler *c, int node, const struct peri_scope *scope,
                         struct peri_model *model)
{
    if (peri_compile_get(c, node, "fields") != LUA_TTABLE)
        peri_compile_fail(c, &scope->place, "fields must be a table");
    if (lua_rawlen(c->L, -1) == 0)
        order_fields(c, scope);
    int list = lua_gettop(c->L);
    lua_Unsigned count = lua_rawlen(c->L, list);
    if (count > UINT16_MAX - 1)
        peri_compile_fail(c, &scope->place, "too many fields");
    struct peri_member *members = peri_compile_take(c, ((size_t) count + 1) * sizeof(*members));
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(c->L, list, i + 1);
        compile_member(c, scope, &members[i]);
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    model->members = members;
    model->count = (uint32_t) count;
    peri_model_index(&c->types->arena, model);
}

static void compile_computed(struct peri_compiler *c, int node, const struct peri_scope *scope,
                             struct peri_model *model)
{
    if (peri_compile_get(c, node, "computed") != LUA_TTABLE) {
        lua_pop(c->L, 1);
        return;
    }
    int list = lua_gettop(c->L);
    model->computed_count = (uint32_t) lua_rawlen(c->L, list);
    struct peri_computed *computed =
        peri_compile_take(c, (model->computed_count + 1) * sizeof(*computed));
    for (uint32_t i = 0; i < model->computed_count; i++) {
        if (lua_rawgeti(c->L, list, i + 1) != LUA_TTABLE)
            peri_compile_fail(c, &scope->place, "computed must be a list of { name, type, fn }");
        int entry = lua_gettop(c->L);
        struct peri_text alias = {0};
        computed[i].name = peri_compile_text(c, entry, "name");
        if (peri_compile_get(c, entry, "type") == LUA_TTABLE)
            alias = peri_compile_text(c, lua_gettop(c->L), "alias");
        lua_pop(c->L, 1);
        if (peri_compile_get(c, entry, "fn") != LUA_TFUNCTION || computed[i].name.data == NULL)
            peri_compile_fail(c, &scope->place, "computed must be a list of { name, type, fn }");
        computed[i].function = peri_compile_keep_lua(c);
        computed[i].json_name = quoted_key(c, alias.data ? alias : computed[i].name);
        computed[i].type = peri_compile_part(c, entry, scope, "type", &any_type);
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    model->computed = computed;
}

static void compile_model(struct peri_compiler *c, int node, const struct peri_scope *scope,
                          struct peri_type *type)
{
    struct peri_model *model = &type->model;
    model->name = peri_compile_text(c, node, "name");
    if (model->name.data == NULL)
        model->name = (struct peri_text){"model", 5};
    struct peri_text extra = peri_compile_text(c, node, "extra");
    if (extra.data != NULL && strcmp(extra.data, "forbid") == 0)
        model->extra = PERI_EXTRA_FORBID;
    else if (extra.data != NULL && strcmp(extra.data, "allow") == 0)
        model->extra = PERI_EXTRA_ALLOW;
    else if (extra.data != NULL && strcmp(extra.data, "ignore") != 0)
        peri_compile_fail(c, &scope->place, "extra must be \"ignore\", \"forbid\" or \"allow\"");
    /* A strict model makes the scalars inside it strict; other models decide for themselves. */
    struct peri_scope inner = {scope->place, c->strict};
    if (peri_compile_get(c, node, "strict") != LUA_TNIL)
        inner.strict = lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    peri_compile_fields(c, node, &inner, model);
    compile_computed(c, node, &inner, model);
    lua_pushvalue(c->L, node);
    model->node = peri_compile_keep_lua(c);
    lua_newtable(c->L);
    model->metatables = peri_compile_keep_lua(c);
}

/* -------------------------------------------------------------- any node --- */

static void compile_ref(struct peri_compiler *c, int node, const struct peri_scope *scope,
                        struct peri_type *type)
{
    if (peri_compile_get(c, node, "target") != LUA_TFUNCTION)
        peri_compile_fail(c, &scope->place, "target must be a function that returns a type");
    lua_call(c->L, 0, 1);
    struct peri_scope inner = *scope;
    type->target = peri_compile(c, lua_gettop(c->L), &inner);
    lua_pop(c->L, 1);
}

static void compile_kind(struct peri_compiler *c, int node, const struct peri_scope *scope,
                         struct peri_type *type)
{
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
        compile_array(c, node, scope, type);
        break;
    case PERI_KIND_TUPLE:
        compile_tuple(c, node, scope, type);
        break;
    case PERI_KIND_MAP:
        compile_map(c, node, scope, type);
        break;
    case PERI_KIND_MODEL:
        compile_model(c, node, scope, type);
        break;
    case PERI_KIND_UNION:
        compile_union(c, node, scope, type);
        break;
    case PERI_KIND_TAGGED:
        compile_tagged(c, node, scope, type);
        break;
    case PERI_KIND_REF:
        compile_ref(c, node, scope, type);
        break;
    default:
        peri_compile_scalar(c, node, scope, type);
        break;
    }
}

static void compile_default(struct peri_compiler *c, int node, struct peri_type *type)
{
    int kind = peri_compile_get(c, node, "default");
    if (kind == LUA_TNIL) {
        lua_pop(c->L, 1);
        return;
    }
    struct peri_default *fallback = peri_compile_take(c, sizeof(*fallback));
    if (kind == LUA_TFUNCTION) {
        fallback->function = peri_compile_keep_lua(c);
    } else {
        fallback->node = peri_tape_from_lua(c->L, lua_gettop(c->L), &c->types->arena);
        lua_pop(c->L, 1);
    }
    type->fallback = fallback;
}

/* Keeps the functions of one time in a row. */
static void keep_checks(struct peri_compiler *c, int list, const char *when, uint32_t *count,
                        int *first)
{
    lua_Unsigned all = lua_rawlen(c->L, list);
    for (lua_Unsigned i = 1; i <= all; i++) {
        if (lua_rawgeti(c->L, list, (lua_Integer) i) == LUA_TTABLE) {
            int entry = lua_gettop(c->L);
            peri_compile_get(c, entry, "when");
            const char *time = luaL_optstring(c->L, -1, "after");
            bool wanted = strcmp(time, when) == 0;
            lua_pop(c->L, 1);
            if (wanted && peri_compile_get(c, entry, "fn") == LUA_TFUNCTION) {
                int index = peri_compile_keep_lua(c);
                *first = *count == 0 ? index : *first;
                (*count)++;
            }
        }
        lua_settop(c->L, list);
    }
}

static void compile_checks(struct peri_compiler *c, int node, struct peri_type *type)
{
    if (peri_compile_get(c, node, "checks") == LUA_TTABLE && lua_rawlen(c->L, -1) > 0) {
        int list = lua_gettop(c->L);
        struct peri_checks *checks = peri_compile_take(c, sizeof(*checks));
        keep_checks(c, list, "before", &checks->before_count, &checks->before);
        keep_checks(c, list, "after", &checks->after_count, &checks->after);
        type->checks = checks;
        c->holds |= PERI_HOLDS_CHECKS;
    }
    lua_pop(c->L, 1);
}

static void compile_serializer(struct peri_compiler *c, int node, const struct peri_scope *scope,
                               struct peri_type *type)
{
    if (peri_compile_get(c, node, "serialize") == LUA_TTABLE) {
        int entry = lua_gettop(c->L);
        struct peri_serializer *serializer = peri_compile_take(c, sizeof(*serializer));
        if (peri_compile_get(c, entry, "fn") != LUA_TFUNCTION)
            peri_compile_fail(c, &scope->place, "serialize must be { type, function }");
        serializer->function = peri_compile_keep_lua(c);
        serializer->type = peri_compile_part(c, entry, scope, "type", &any_type);
        type->serializer = serializer;
    }
    lua_pop(c->L, 1);
}

struct peri_type *peri_compile(struct peri_compiler *c, int node, const struct peri_scope *scope)
{
    lua_State *L = c->L;
    luaL_checkstack(L, 40, "types are nested too deeply");
    if (lua_type(L, node) != LUA_TTABLE)
        peri_compile_fail(c, &scope->place, "a type is expected here");
    lua_pushvalue(L, node);
    if (lua_rawget(L, c->memo[scope->strict]) == LUA_TLIGHTUSERDATA) {
        struct peri_type *known = lua_touserdata(L, -1);
        lua_pop(L, 1);
        c->recursive |= known->unfinished;
        c->holds |= known->holds;
        return known;
    }
    lua_pop(L, 1);
    peri_compile_get(c, node, "kind");
    const char *name = lua_tostring(L, -1);
    size_t i = 0;
    while (i < sizeof(kinds) / sizeof(kinds[0]) && (!name || strcmp(kinds[i].name, name) != 0))
        i++;
    if (i == sizeof(kinds) / sizeof(kinds[0]))
        peri_compile_fail(c, &scope->place,
                          lua_pushfstring(L, "unknown kind of type '%s'", name ? name : "?"));
    lua_pop(L, 1);

    struct peri_type *type = peri_compile_take(c, sizeof(*type));
    type->kind = (uint8_t) kinds[i].kind;
    lua_pushvalue(L, node);
    lua_pushlightuserdata(L, type);
    lua_rawset(L, c->memo[scope->strict]); /* before its parts: they may refer to it */
    type->unfinished = true;
    uint8_t beside = c->holds;
    c->holds = type->kind == PERI_KIND_SECRET ? PERI_HOLDS_SECRET : 0;
    type->optional = peri_compile_flag(c, node, "optional");
    type->nullable = peri_compile_flag(c, node, "nullable");
    type->strict = scope->strict;
    if (peri_compile_get(c, node, "strict") != LUA_TNIL)
        type->strict = lua_toboolean(L, -1);
    lua_pop(L, 1);
    compile_kind(c, node, scope, type);
    compile_default(c, node, type);
    compile_checks(c, node, type);
    compile_serializer(c, node, scope, type);
    type->unfinished = false;
    type->holds = c->holds;
    c->holds |= beside;
    struct peri_late *late = peri_compile_take(c, sizeof(*late));
    *late = (struct peri_late){.next = c->late, .type = type};
    c->late = late;
    return type;
}

/* ------------------------------------------------------------- finishing --- */

static void label_members(struct peri_compiler *c, struct peri_type *type)
{
    for (uint32_t i = 0; i < type->any_of.count; i++) {
        struct peri_type *member = (struct peri_type *) type->any_of.members[i];
        if (member->label.data != NULL)
            continue;
        struct peri_buf label = {0};
        peri_label_print(&label, member, 0);
        member->label = peri_compile_keep_text(c, &label);
        peri_buf_deinit(&label);
    }
}

/* Copies converted values to the memory of the types; NULL when a check has to run on them. */
static const struct peri_value *keep_values(struct peri_compiler *c,
                                            const struct peri_result *result)
{
    struct peri_value *values = peri_compile_take(c, result->count * sizeof(*values));
    memcpy(values, result->values, result->count * sizeof(*values));
    for (uint32_t i = 0; i < result->count; i++) {
        if (values[i].kind == PERI_VALUE_CHECK)
            return NULL;
        if (values[i].kind != PERI_VALUE_STRING)
            continue;
        char *copy = peri_arena_take(&c->types->arena, values[i].count + 1);
        memcpy(copy, values[i].string, values[i].count);
        values[i].string = copy;
    }
    return values;
}

static void convert_default(struct peri_compiler *c, struct peri_type *type)
{
    struct peri_default *fallback = (struct peri_default *) type->fallback;
    struct peri_json_node *node = (struct peri_json_node *) fallback->node;
    if (node->type == PERI_TAPE_EMPTY)
        node->type = peri_type_is_sequence(type) ? PERI_JSON_ARRAY : PERI_JSON_OBJECT;
    struct peri_result *result = peri_result_push(c->L);
    struct peri_run run = {
        .result = result, .mode = PERI_MODE_VALUE, .budget = 10000, .from_lua = true};
    bool null = fallback->node->type == PERI_JSON_NULL && (type->optional || type->nullable);
    if (null)
        peri_value_add(result, type->nullable ? PERI_VALUE_NULL : PERI_VALUE_NIL);
    if (null || peri_validate_inner(&run, type, fallback->node, NULL))
        fallback->values = keep_values(c, result);
    lua_pop(c->L, 1);
}

void peri_compile_finish(struct peri_compiler *c)
{
    for (struct peri_late *late = c->late; late != NULL; late = late->next) {
        if (late->type->kind == PERI_KIND_UNION)
            label_members(c, late->type);
    }
    for (struct peri_late *late = c->late; late != NULL; late = late->next) {
        if (late->type->fallback != NULL && late->type->fallback->node != NULL)
            convert_default(c, late->type);
    }
    /* What a type within itself holds was not known yet when it was met. */
    for (struct peri_late *late = c->recursive ? c->late : NULL; late != NULL; late = late->next)
        late->type->holds |= c->holds;
    c->program->has_checks = c->holds & PERI_HOLDS_CHECKS;
    c->program->has_secret = c->holds & PERI_HOLDS_SECRET;
    c->types->busy = false;
}
