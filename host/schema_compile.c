/* Node tables of Lua become struct peri_type. Runs at load, so a mistake in a declaration is raised
 * with the place inside the type: "Item.price: gt must be a number". */
#include "json_lua.h"
#include "schema_lua.h"
#include "schema_string.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* One step on the way from the root to the node under work. */
struct place {
    const struct place *up;
    const char *name;
};

/* Defaults are converted and unions labelled when all types are complete. */
struct late {
    struct late *next;
    struct peri_type *type;
};

struct compiler {
    lua_State *L;
    struct peri_program *program;
    int lua_values; /* table: what the program needs of Lua at run time */
    int lua_count;
    int memo[2]; /* tables: node -> compiled type, not strict and strict */
    bool strict; /* the option of compile() */
    struct late *late;
};

/* What a node is compiled under. */
struct scope {
    struct place place;
    bool strict;
};

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

static void *take(struct compiler *c, size_t size)
{
    void *memory = peri_arena_take(&c->program->arena, size);
    memset(memory, 0, size);
    return memory;
}

/* ---------------------------------------------------- reading Lua tables --- */

static void push_place(luaL_Buffer *text, const struct place *place)
{
    if (place->up != NULL) {
        push_place(text, place->up);
        if (*place->name != '[')
            luaL_addchar(text, '.');
    }
    luaL_addstring(text, place->name);
}

static int fail(struct compiler *c, const struct place *place, const char *message)
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
static int get(struct compiler *c, int node, const char *name)
{
    lua_pushstring(c->L, name);
    return lua_rawget(c->L, node);
}

static bool get_flag(struct compiler *c, int node, const char *name)
{
    get(c, node, name);
    bool flag = lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    return flag;
}

/* A copy in the program's memory of the string at `index`. */
static struct peri_text keep_string(struct compiler *c, int index)
{
    size_t len = 0;
    const char *text = lua_tolstring(c->L, index, &len);
    char *copy = peri_arena_take(&c->program->arena, len + 1);
    memcpy(copy, text, len + 1);
    return (struct peri_text){copy, (uint32_t) len};
}

static struct peri_text keep_text(struct compiler *c, const struct peri_buf *text)
{
    char *copy = peri_arena_take(&c->program->arena, text->len + 1);
    if (text->len > 0)
        memcpy(copy, text->data, text->len);
    copy[text->len] = '\0';
    return (struct peri_text){copy, (uint32_t) text->len};
}

static struct peri_text get_text(struct compiler *c, int node, const char *name)
{
    struct peri_text text = {0};
    if (get(c, node, name) == LUA_TSTRING)
        text = keep_string(c, -1);
    lua_pop(c->L, 1);
    return text;
}

static bool get_size(struct compiler *c, int node, const struct place *place, const char *name,
                     uint32_t *out)
{
    bool present = get(c, node, name) != LUA_TNIL;
    int whole = 0;
    lua_Integer value = lua_tointegerx(c->L, -1, &whole);
    lua_pop(c->L, 1);
    if (present && (!whole || value < 0 || value > INT32_MAX))
        fail(c, place, lua_pushfstring(c->L, "%s must be a count", name));
    *out = (uint32_t) value;
    return present;
}

/* Two counts that bound a length; `legacy` names are those of min_items. */
static void get_sizes(struct compiler *c, int node, const struct place *place, const char *unit,
                      uint32_t *min, bool *has_min, uint32_t *max, bool *has_max)
{
    const char *name = lua_pushfstring(c->L, "min_%s", unit);
    *has_min = get_size(c, node, place, name, min);
    name = lua_pushfstring(c->L, "max_%s", unit);
    *has_max = get_size(c, node, place, name, max);
    lua_pop(c->L, 2);
}

/* Moves the value on top to the program's Lua values. */
static int keep_lua(struct compiler *c)
{
    lua_rawseti(c->L, c->lua_values, ++c->lua_count);
    return c->lua_count;
}

/* --------------------------------------------------------------- scalars --- */

static struct peri_type *compile(struct compiler *c, int node, const struct scope *scope);

static void compile_string(struct compiler *c, int node, const struct scope *scope,
                           struct peri_type *type)
{
    get_sizes(c, node, &scope->place, "length", &type->string.min, &type->string.has_min,
              &type->string.max, &type->string.has_max);
    type->string.strip = get_flag(c, node, "strip");
    type->string.lower = get_flag(c, node, "to_lower");
    type->string.upper = get_flag(c, node, "to_upper");
    struct peri_text encoding = get_text(c, node, "encoding");
    if (encoding.data != NULL && strcmp(encoding.data, "base64") == 0)
        type->string.encoding = PERI_ENCODING_BASE64;
    else if (encoding.data != NULL && strcmp(encoding.data, "hex") == 0)
        type->string.encoding = PERI_ENCODING_HEX;
    type->string.pattern_text = get_text(c, node, "pattern");
    if (type->string.pattern_text.data == NULL)
        return;
    struct peri_buf reason = {0};
    type->string.pattern =
        peri_pattern_new(&c->program->patterns, type->string.pattern_text, &reason);
    if (type->string.pattern == NULL) {
        lua_pushliteral(c->L, "pattern: ");
        lua_pushlstring(c->L, reason.data, reason.len);
        peri_buf_deinit(&reason);
        lua_concat(c->L, 2);
        fail(c, &scope->place, lua_tostring(c->L, -1));
    }
}

static const struct {
    const char *name;
    unsigned bit;
} bound_names[] = {
    {"gt", PERI_GT},
    {"ge", PERI_GE},
    {"lt", PERI_LT},
    {"le", PERI_LE},
    {"multiple_of", PERI_MULTIPLE},
};
enum { BOUNDS = sizeof(bound_names) / sizeof(bound_names[0]) };

static void compile_integer(struct compiler *c, int node, const struct scope *scope,
                            struct peri_integer_bounds *bounds)
{
    int64_t *places[BOUNDS] = {&bounds->gt, &bounds->ge, &bounds->lt, &bounds->le,
                               &bounds->multiple};
    for (int i = 0; i < BOUNDS; i++) {
        if (get(c, node, bound_names[i].name) != LUA_TNIL) {
            int whole = 0;
            *places[i] = lua_tointegerx(c->L, -1, &whole);
            if (!whole)
                fail(c, &scope->place,
                     lua_pushfstring(c->L, "%s must be an integer", bound_names[i].name));
            bounds->present |= bound_names[i].bit;
        }
        lua_pop(c->L, 1);
    }
}

static void compile_number(struct compiler *c, int node, const struct scope *scope,
                           struct peri_type *type)
{
    struct peri_number_bounds *bounds = &type->number.bounds;
    double *places[BOUNDS] = {&bounds->gt, &bounds->ge, &bounds->lt, &bounds->le,
                              &bounds->multiple};
    for (int i = 0; i < BOUNDS; i++) {
        if (get(c, node, bound_names[i].name) != LUA_TNIL) {
            int number = 0;
            *places[i] = lua_tonumberx(c->L, -1, &number);
            if (!number)
                fail(c, &scope->place,
                     lua_pushfstring(c->L, "%s must be a number", bound_names[i].name));
            bounds->present |= bound_names[i].bit;
        }
        lua_pop(c->L, 1);
    }
    if (get(c, node, "allow_inf_nan") != LUA_TNIL)
        type->number.finite = !lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
}

static void compile_decimal(struct compiler *c, int node, const struct scope *scope,
                            struct peri_type *type)
{
    struct peri_decimal_bounds *bounds = &type->decimal.bounds;
    struct peri_text *places[BOUNDS] = {&bounds->gt, &bounds->ge, &bounds->lt, &bounds->le,
                                        &bounds->multiple};
    for (int i = 0; i < BOUNDS; i++) {
        if (get(c, node, bound_names[i].name) != LUA_TNIL) {
            if (lua_tostring(c->L, -1) == NULL)
                fail(c, &scope->place,
                     lua_pushfstring(c->L, "%s must be a decimal", bound_names[i].name));
            struct peri_text text = keep_string(c, -1);
            struct peri_decimal decimal;
            if (!peri_decimal_read(text, take(c, text.len + 1), &decimal) || decimal.special)
                fail(c, &scope->place,
                     lua_pushfstring(c->L, "%s must be a decimal", bound_names[i].name));
            struct peri_buf shown = {0};
            peri_decimal_print(&shown, &decimal);
            *places[i] = keep_text(c, &shown);
            peri_buf_deinit(&shown);
            bounds->present |= bound_names[i].bit;
        }
        lua_pop(c->L, 1);
    }
    bounds->check_digits = get_size(c, node, &scope->place, "max_digits", &bounds->max_digits);
    bounds->check_places = get_size(c, node, &scope->place, "decimal_places", &bounds->places);
    type->decimal.allow_inf_nan = get_flag(c, node, "allow_inf_nan");
}

static bool read_temporal(struct compiler *c, enum peri_kind kind, struct peri_temporal *out)
{
    const struct peri_temporal *given = peri_temporal_test(c->L, -1);
    if (given != NULL) {
        *out = *given;
        return given->kind == kind - PERI_KIND_DATETIME;
    }
    if (lua_type(c->L, -1) == LUA_TNUMBER && kind == PERI_KIND_DURATION)
        return peri_duration_from_number(lua_tonumber(c->L, -1), out) == NULL;
    size_t len = 0;
    const char *text = lua_tolstring(c->L, -1, &len);
    if (text == NULL)
        return false;
    switch (kind) {
    case PERI_KIND_DATETIME:
        if (peri_datetime_parse(text, len, out) == NULL)
            return true;
        if (peri_date_parse(text, len, out) != NULL)
            return false;
        out->kind = PERI_DATETIME;
        return true;
    case PERI_KIND_DATE:
        return peri_date_parse(text, len, out) == NULL;
    case PERI_KIND_TIME:
        return peri_time_parse(text, len, out) == NULL;
    default:
        return peri_duration_parse(text, len, out) == NULL;
    }
}

static void compile_temporal(struct compiler *c, int node, const struct scope *scope,
                             struct peri_type *type)
{
    struct peri_temporal_bounds *bounds = &type->temporal;
    struct peri_temporal *places[BOUNDS] = {&bounds->gt, &bounds->ge, &bounds->lt, &bounds->le,
                                            &bounds->multiple};
    for (int i = 0; i < BOUNDS; i++) {
        if (get(c, node, bound_names[i].name) != LUA_TNIL) {
            if (!read_temporal(c, type->kind, places[i]))
                fail(c, &scope->place,
                     lua_pushfstring(c->L, "%s does not fit the type", bound_names[i].name));
            bounds->present |= bound_names[i].bit;
        }
        lua_pop(c->L, 1);
    }
}

static void compile_url(struct compiler *c, int node, const struct scope *scope,
                        struct peri_type *type)
{
    type->url.has_max = get_size(c, node, &scope->place, "max_length", &type->url.max);
    type->url.any_host = get(c, node, "host_required") == LUA_TNIL || !lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    if (get(c, node, "schemes") == LUA_TTABLE) {
        uint32_t count = (uint32_t) lua_rawlen(c->L, -1);
        struct peri_text *schemes = take(c, count * sizeof(*schemes));
        struct peri_buf expected = {0};
        for (uint32_t i = 0; i < count; i++) {
            lua_rawgeti(c->L, -1, i + 1);
            if (lua_type(c->L, -1) == LUA_TSTRING)
                schemes[i] = keep_string(c, -1);
            lua_pop(c->L, 1);
            peri_buf_addf(&expected, "%s'%.*s'",
                          i == 0           ? ""
                          : i + 1 == count ? " or "
                                           : ", ",
                          (int) schemes[i].len, schemes[i].data);
        }
        type->url.schemes = schemes;
        type->url.scheme_count = count;
        type->url.expected = keep_text(c, &expected);
        peri_buf_deinit(&expected);
    }
    lua_pop(c->L, 1);
}

/* ------------------------------------------------------------- constants --- */

static void print_constant(struct peri_buf *out, const struct peri_constant *constant)
{
    switch (constant->type) {
    case PERI_JSON_NULL:
        peri_buf_add_lit(out, "None");
        break;
    case PERI_JSON_FALSE:
        peri_buf_add_lit(out, "False");
        break;
    case PERI_JSON_TRUE:
        peri_buf_add_lit(out, "True");
        break;
    case PERI_JSON_INTEGER:
        peri_buf_add_int(out, constant->integer);
        break;
    default:
        peri_repr_text(out, constant->text);
        break;
    }
}

/* The constant on top of the stack. */
static struct peri_constant get_constant(struct compiler *c, const struct scope *scope)
{
    struct peri_constant constant = {0};
    int whole = 0;
    switch (lua_type(c->L, -1)) {
    case LUA_TLIGHTUSERDATA:
        constant.type = PERI_JSON_NULL;
        break;
    case LUA_TBOOLEAN:
        constant.type = lua_toboolean(c->L, -1) ? PERI_JSON_TRUE : PERI_JSON_FALSE;
        break;
    case LUA_TSTRING:
        constant.type = PERI_JSON_STRING;
        constant.text = keep_string(c, -1);
        break;
    case LUA_TNUMBER:
        constant.type = PERI_JSON_INTEGER;
        constant.integer = lua_tointegerx(c->L, -1, &whole);
        if (whole)
            break;
        /* fall through */
    default:
        fail(c, &scope->place, "values must be strings, integers, booleans or json.null");
    }
    return constant;
}

static void compile_constants(struct compiler *c, int node, const struct scope *scope,
                              struct peri_type *type)
{
    struct peri_constants *constants = &type->constants;
    if (get(c, node, "values") != LUA_TTABLE || lua_rawlen(c->L, -1) == 0)
        fail(c, &scope->place, "values must be a list");
    constants->count = (uint32_t) lua_rawlen(c->L, -1);
    struct peri_constant *items = take(c, constants->count * sizeof(*items));
    for (uint32_t i = 0; i < constants->count; i++) {
        lua_rawgeti(c->L, -1, i + 1);
        items[i] = get_constant(c, scope);
        lua_pop(c->L, 1);
        constants->has_integer = constants->has_integer || items[i].type == PERI_JSON_INTEGER;
        if (i == 0)
            constants->kind = items[i].type;
        else if (items[i].type != constants->kind)
            constants->kind = PERI_JSON_NULL;
    }
    lua_pop(c->L, 1);
    constants->items = items;
    struct peri_buf expected = {0};
    for (uint32_t i = 0; i < constants->count; i++) {
        if (i > 0)
            peri_buf_add_str(&expected, i + 1 == constants->count ? " or " : ", ");
        print_constant(&expected, &items[i]);
    }
    constants->expected = keep_text(c, &expected);
    peri_buf_deinit(&expected);
    constants->name = get_text(c, node, "name");
    if (constants->name.data == NULL)
        constants->name = (struct peri_text){"Enum", 4};
}

/* ----------------------------------------------------------- collections --- */

/* The type of the node on top of the stack, which is popped. */
static struct peri_type *compile_top(struct compiler *c, const struct scope *scope,
                                     const char *step)
{
    struct scope inner = {{&scope->place, step}, scope->strict};
    struct peri_type *type = compile(c, lua_gettop(c->L), &inner);
    lua_pop(c->L, 1);
    return type;
}

static const struct peri_type any_type = {.kind = PERI_KIND_ANY, .label = {"any", 3}};
static const struct peri_type string_type = {.kind = PERI_KIND_STRING, .label = {"str", 3}};

/* The type of node[name]; `otherwise` when there is none. */
static const struct peri_type *compile_part(struct compiler *c, int node, const struct scope *scope,
                                            const char *name, const struct peri_type *otherwise)
{
    if (get(c, node, name) == LUA_TNIL) {
        lua_pop(c->L, 1);
        return otherwise;
    }
    return compile_top(c, scope, name);
}

/* The types of the list on top of the stack, which is popped. */
static const struct peri_type **compile_list(struct compiler *c, const struct scope *scope,
                                             uint32_t *count)
{
    *count = (uint32_t) lua_rawlen(c->L, -1);
    const struct peri_type **types = take(c, (*count + 1) * sizeof(struct peri_type *));
    for (uint32_t i = 0; i < *count; i++) {
        char step[16];
        snprintf(step, sizeof(step), "[%u]", i + 1);
        lua_rawgeti(c->L, -1, i + 1);
        types[i] = compile_top(c, scope, step);
    }
    lua_pop(c->L, 1);
    return types;
}

static void compile_array(struct compiler *c, int node, const struct scope *scope,
                          struct peri_type *type)
{
    get_sizes(c, node, &scope->place, "items", &type->array.min, &type->array.has_min,
              &type->array.max, &type->array.has_max);
    type->array.unique = get_flag(c, node, "unique");
    type->array.item = compile_part(c, node, scope, "item", &any_type);
}

static void compile_tuple(struct compiler *c, int node, const struct scope *scope,
                          struct peri_type *type)
{
    get_sizes(c, node, &scope->place, "items", &type->tuple.min, &type->tuple.has_min,
              &type->tuple.max, &type->tuple.has_max);
    if (get(c, node, "items") == LUA_TTABLE)
        type->tuple.items = compile_list(c, scope, &type->tuple.count);
    else
        lua_pop(c->L, 1);
    type->tuple.rest = compile_part(c, node, scope, "rest", NULL);
}

static void compile_map(struct compiler *c, int node, const struct scope *scope,
                        struct peri_type *type)
{
    get_sizes(c, node, &scope->place, "items", &type->map.min, &type->map.has_min, &type->map.max,
              &type->map.has_max);
    type->map.key = compile_part(c, node, scope, "key", &string_type);
    type->map.value = compile_part(c, node, scope, "value", &any_type);
}

/* A member that adds nothing of its own to being null or a union. */
static bool dissolves(const struct peri_type *member)
{
    return member->fallback == NULL && member->checks == NULL;
}

/* Whether an equal scalar type, one without options, is among the members already. */
static bool is_repeated(const struct peri_type *const *members, uint32_t count,
                        const struct peri_type *type)
{
    static const struct peri_type plain;
    const size_t options = sizeof(*type) - offsetof(struct peri_type, string);
    if (type->kind > PERI_KIND_IPV6 || !dissolves(type) ||
        memcmp(&type->string, &plain.string, options) != 0)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (members[i]->kind == type->kind && members[i]->strict == type->strict &&
            memcmp(&members[i]->string, &plain.string, options) == 0)
            return true;
    }
    return false;
}

/* As Python's typing: unions within unions are one union, and a null among the members, or one that
 * may be null, makes all of it nullable. */
static void flatten_members(struct compiler *c, struct peri_type *type,
                            const struct peri_type **members, uint32_t count)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += members[i]->kind == PERI_KIND_UNION ? members[i]->any_of.count : 1;
    const struct peri_type **flat = take(c, (total + 1) * sizeof(struct peri_type *));
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

static void compile_union(struct compiler *c, int node, const struct scope *scope,
                          struct peri_type *type)
{
    if (get(c, node, "members") != LUA_TTABLE || lua_rawlen(c->L, -1) == 0)
        fail(c, &scope->place, "members must be a list of types");
    uint32_t count = 0;
    const struct peri_type **members = compile_list(c, scope, &count);
    flatten_members(c, type, members, count);
}

static void compile_tagged(struct compiler *c, int node, const struct scope *scope,
                           struct peri_type *type)
{
    type->tagged.tag = get_text(c, node, "tag");
    if (type->tagged.tag.data == NULL)
        fail(c, &scope->place, "tag must be the name of a field");
    if (get(c, node, "cases") != LUA_TTABLE || lua_rawlen(c->L, -1) == 0)
        fail(c, &scope->place, "cases must be a list of { tag, type }");
    int list = lua_gettop(c->L);
    type->tagged.count = (uint32_t) lua_rawlen(c->L, list);
    struct peri_case *cases = take(c, type->tagged.count * sizeof(*cases));
    struct peri_buf expected = {0};
    struct peri_buf shown = {0};
    peri_repr_text(&shown, type->tagged.tag);
    type->tagged.shown = keep_text(c, &shown);
    peri_buf_deinit(&shown);
    for (uint32_t i = 0; i < type->tagged.count; i++) {
        if (lua_rawgeti(c->L, list, i + 1) != LUA_TTABLE)
            fail(c, &scope->place, "cases must be a list of { tag, type }");
        int entry = lua_gettop(c->L);
        if (lua_rawgeti(c->L, entry, 1) == LUA_TNIL) {
            lua_pop(c->L, 1);
            get(c, entry, "tag");
        }
        cases[i].tag = get_constant(c, scope);
        lua_pop(c->L, 1);
        if (lua_rawgeti(c->L, entry, 2) == LUA_TNIL) {
            lua_pop(c->L, 1);
            get(c, entry, "type");
        }
        cases[i].type = compile_top(c, scope, "case");
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    for (uint32_t i = 0; i < type->tagged.count; i++) {
        if (i > 0)
            peri_buf_add_lit(&expected, ", ");
        print_constant(&expected, &cases[i].tag);
    }
    type->tagged.cases = cases;
    type->tagged.expected = keep_text(c, &expected);
    peri_buf_deinit(&expected);
}

/* ---------------------------------------------------------------- models --- */

static lua_Integer get_seq(struct compiler *c, int entry)
{
    lua_rawgeti(c->L, entry, 2);
    lua_Integer seq = 0;
    if (lua_type(c->L, -1) == LUA_TTABLE) {
        get(c, lua_gettop(c->L), "seq");
        seq = lua_tointeger(c->L, -1);
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    return seq;
}

/* Whether the entry on top of the stack stands behind the one below it. */
static bool is_behind(struct compiler *c)
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
static void order_fields(struct compiler *c, const struct scope *scope)
{
    lua_State *L = c->L;
    int map = lua_gettop(L);
    lua_newtable(L);
    int list = map + 1;
    int count = 0;
    for (lua_pushnil(L); lua_next(L, map);) {
        if (lua_type(L, -2) != LUA_TSTRING)
            fail(c, &scope->place, "fields must have names");
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

static struct peri_text quoted_key(struct compiler *c, struct peri_text name)
{
    struct peri_buf text = {0};
    peri_json_add_string(&text, name.data, name.len);
    peri_buf_add_byte(&text, ':');
    struct peri_text kept = keep_text(c, &text);
    peri_buf_deinit(&text);
    return kept;
}

/* The field whose { name, type } or { name =, type = } is on top of the stack. */
static void compile_member(struct compiler *c, const struct scope *scope,
                           struct peri_member *member)
{
    int entry = lua_gettop(c->L);
    if (lua_type(c->L, entry) != LUA_TTABLE)
        fail(c, &scope->place, "a field must be { name = ..., type = ... }");
    if (get(c, entry, "name") == LUA_TNIL) {
        lua_pop(c->L, 1);
        lua_rawgeti(c->L, entry, 1);
    }
    if (lua_type(c->L, -1) != LUA_TSTRING)
        fail(c, &scope->place, "a field needs a name");
    member->name = keep_string(c, -1);
    member->key = keep_lua(c);
    if (get(c, entry, "type") == LUA_TNIL) {
        lua_pop(c->L, 1);
        lua_rawgeti(c->L, entry, 2);
    }
    int node = lua_gettop(c->L);
    if (lua_type(c->L, node) == LUA_TTABLE)
        member->wire = get_text(c, node, "alias");
    member->is_file = get_flag(c, entry, "file");
    member->has_alias = member->wire.data != NULL;
    if (!member->has_alias)
        member->wire = member->name;
    member->json_wire = quoted_key(c, member->wire);
    member->json_name = quoted_key(c, member->name);
    member->type = compile_top(c, scope, member->name.data);
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
static void compile_fields(struct compiler *c, int node, const struct scope *scope,
                           struct peri_model *model)
{
    if (get(c, node, "fields") != LUA_TTABLE)
        fail(c, &scope->place, "fields must be a table");
    if (lua_rawlen(c->L, -1) == 0)
        order_fields(c, scope);
    int list = lua_gettop(c->L);
    lua_Unsigned count = lua_rawlen(c->L, list);
    if (count > UINT16_MAX - 1)
        fail(c, &scope->place, "too many fields");
    struct peri_member *members = take(c, ((size_t) count + 1) * sizeof(*members));
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(c->L, list, i + 1);
        compile_member(c, scope, &members[i]);
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    model->members = members;
    model->count = (uint32_t) count;
    peri_model_index(&c->program->arena, model);
}

static void compile_computed(struct compiler *c, int node, const struct scope *scope,
                             struct peri_model *model)
{
    if (get(c, node, "computed") != LUA_TTABLE) {
        lua_pop(c->L, 1);
        return;
    }
    int list = lua_gettop(c->L);
    model->computed_count = (uint32_t) lua_rawlen(c->L, list);
    struct peri_computed *computed = take(c, (model->computed_count + 1) * sizeof(*computed));
    for (uint32_t i = 0; i < model->computed_count; i++) {
        if (lua_rawgeti(c->L, list, i + 1) != LUA_TTABLE)
            fail(c, &scope->place, "computed must be a list of { name, type, fn }");
        int entry = lua_gettop(c->L);
        struct peri_text alias = {0};
        computed[i].name = get_text(c, entry, "name");
        if (get(c, entry, "type") == LUA_TTABLE)
            alias = get_text(c, lua_gettop(c->L), "alias");
        lua_pop(c->L, 1);
        if (get(c, entry, "fn") != LUA_TFUNCTION || computed[i].name.data == NULL)
            fail(c, &scope->place, "computed must be a list of { name, type, fn }");
        computed[i].function = keep_lua(c);
        computed[i].json_name = quoted_key(c, alias.data ? alias : computed[i].name);
        computed[i].type = compile_part(c, entry, scope, "type", &any_type);
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    model->computed = computed;
}

static void compile_model(struct compiler *c, int node, const struct scope *scope,
                          struct peri_type *type)
{
    struct peri_model *model = &type->model;
    model->name = get_text(c, node, "name");
    if (model->name.data == NULL)
        model->name = (struct peri_text){"model", 5};
    struct peri_text extra = get_text(c, node, "extra");
    if (extra.data != NULL && strcmp(extra.data, "forbid") == 0)
        model->extra = PERI_EXTRA_FORBID;
    else if (extra.data != NULL && strcmp(extra.data, "allow") == 0)
        model->extra = PERI_EXTRA_ALLOW;
    else if (extra.data != NULL && strcmp(extra.data, "ignore") != 0)
        fail(c, &scope->place, "extra must be \"ignore\", \"forbid\" or \"allow\"");
    /* A strict model makes the scalars inside it strict; other models decide for themselves. */
    struct scope inner = {scope->place, c->strict};
    if (get(c, node, "strict") != LUA_TNIL)
        inner.strict = lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    compile_fields(c, node, &inner, model);
    compile_computed(c, node, &inner, model);
    lua_newtable(c->L);
    model->metatables = keep_lua(c);
}

/* -------------------------------------------------------------- any node --- */

static void compile_ref(struct compiler *c, int node, const struct scope *scope,
                        struct peri_type *type)
{
    if (get(c, node, "target") != LUA_TFUNCTION)
        fail(c, &scope->place, "target must be a function that returns a type");
    lua_call(c->L, 0, 1);
    struct scope inner = *scope;
    type->target = compile(c, lua_gettop(c->L), &inner);
    lua_pop(c->L, 1);
}

static void compile_kind(struct compiler *c, int node, const struct scope *scope,
                         struct peri_type *type)
{
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_STRING:
    case PERI_KIND_SECRET:
    case PERI_KIND_BYTES:
        compile_string(c, node, scope, type);
        break;
    case PERI_KIND_INTEGER:
        compile_integer(c, node, scope, &type->integer);
        break;
    case PERI_KIND_NUMBER:
        compile_number(c, node, scope, type);
        break;
    case PERI_KIND_DECIMAL:
        compile_decimal(c, node, scope, type);
        break;
    case PERI_KIND_DATETIME:
    case PERI_KIND_DATE:
    case PERI_KIND_TIME:
    case PERI_KIND_DURATION:
        compile_temporal(c, node, scope, type);
        break;
    case PERI_KIND_URL:
        compile_url(c, node, scope, type);
        break;
    case PERI_KIND_ENUM:
    case PERI_KIND_LITERAL:
        compile_constants(c, node, scope, type);
        break;
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
    case PERI_KIND_BOOLEAN:
    case PERI_KIND_NULL:
    case PERI_KIND_ANY:
    case PERI_KIND_UUID:
    case PERI_KIND_EMAIL:
    case PERI_KIND_IPV4:
    case PERI_KIND_IPV6:
    case PERI_KIND_FILE:
        break;
    }
}

static void compile_default(struct compiler *c, int node, struct peri_type *type)
{
    int kind = get(c, node, "default");
    if (kind == LUA_TNIL) {
        lua_pop(c->L, 1);
        return;
    }
    struct peri_default *fallback = take(c, sizeof(*fallback));
    if (kind == LUA_TFUNCTION) {
        fallback->function = keep_lua(c);
    } else {
        fallback->node = peri_tape_from_lua(c->L, lua_gettop(c->L), &c->program->arena);
        lua_pop(c->L, 1);
    }
    type->fallback = fallback;
}

/* Keeps the functions of one time in a row. */
static void keep_checks(struct compiler *c, int list, const char *when, uint32_t *count, int *first)
{
    lua_Unsigned all = lua_rawlen(c->L, list);
    for (lua_Unsigned i = 1; i <= all; i++) {
        if (lua_rawgeti(c->L, list, (lua_Integer) i) == LUA_TTABLE) {
            int entry = lua_gettop(c->L);
            get(c, entry, "when");
            const char *time = luaL_optstring(c->L, -1, "after");
            bool wanted = strcmp(time, when) == 0;
            lua_pop(c->L, 1);
            if (wanted && get(c, entry, "fn") == LUA_TFUNCTION) {
                int index = keep_lua(c);
                *first = *count == 0 ? index : *first;
                (*count)++;
            }
        }
        lua_settop(c->L, list);
    }
}

static void compile_checks(struct compiler *c, int node, struct peri_type *type)
{
    if (get(c, node, "checks") == LUA_TTABLE && lua_rawlen(c->L, -1) > 0) {
        int list = lua_gettop(c->L);
        struct peri_checks *checks = take(c, sizeof(*checks));
        keep_checks(c, list, "before", &checks->before_count, &checks->before);
        keep_checks(c, list, "after", &checks->after_count, &checks->after);
        type->checks = checks;
        c->program->has_checks = true;
    }
    lua_pop(c->L, 1);
}

static struct peri_type *compile(struct compiler *c, int node, const struct scope *scope)
{
    lua_State *L = c->L;
    luaL_checkstack(L, 40, "types are nested too deeply");
    if (lua_type(L, node) != LUA_TTABLE)
        fail(c, &scope->place, "a type is expected here");
    lua_pushvalue(L, node);
    if (lua_rawget(L, c->memo[scope->strict]) == LUA_TLIGHTUSERDATA) {
        struct peri_type *known = lua_touserdata(L, -1);
        lua_pop(L, 1);
        return known;
    }
    lua_pop(L, 1);
    get(c, node, "kind");
    const char *name = lua_tostring(L, -1);
    size_t i = 0;
    while (i < sizeof(kinds) / sizeof(kinds[0]) && (!name || strcmp(kinds[i].name, name) != 0))
        i++;
    if (i == sizeof(kinds) / sizeof(kinds[0]))
        fail(c, &scope->place, lua_pushfstring(L, "unknown kind of type '%s'", name ? name : "?"));
    lua_pop(L, 1);

    struct peri_type *type = take(c, sizeof(*type));
    type->kind = (uint8_t) kinds[i].kind;
    lua_pushvalue(L, node);
    lua_pushlightuserdata(L, type);
    lua_rawset(L, c->memo[scope->strict]); /* before its parts: they may refer to it */
    type->optional = get_flag(c, node, "optional");
    type->nullable = get_flag(c, node, "nullable");
    type->strict = scope->strict;
    if (get(c, node, "strict") != LUA_TNIL)
        type->strict = lua_toboolean(L, -1);
    lua_pop(L, 1);
    compile_kind(c, node, scope, type);
    compile_default(c, node, type);
    compile_checks(c, node, type);
    if (type->kind == PERI_KIND_SECRET)
        c->program->has_secret = true;
    struct late *late = take(c, sizeof(*late));
    *late = (struct late){.next = c->late, .type = type};
    c->late = late;
    return type;
}

/* ---------------------------------------------------------------- labels --- */

static const char secret_label[] =
    "lax-or-strict[lax=json-or-python[json=function-after[SecretStr(), str],python=union["
    "is-instance[SecretStr],function-after[SecretStr(), str]]],strict=json-or-python[json="
    "function-after[SecretStr(), str],python=union[is-instance[SecretStr],function-after["
    "SecretStr(), str]]]]";

static void print_label(struct peri_buf *out, const struct peri_type *type, unsigned depth);
static void print_bare_label(struct peri_buf *out, const struct peri_type *type, unsigned depth);

static void print_labels(struct peri_buf *out, const struct peri_type *const *types, uint32_t count,
                         const char *separator, unsigned depth)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            peri_buf_add_str(out, separator);
        print_label(out, types[i], depth);
    }
}

static void print_address_label(struct peri_buf *out, int version)
{
    peri_buf_addf(out,
                  "lax-or-strict[lax=function-plain[ip_v%d_address_validator()],strict="
                  "json-or-python[json=function-after[IPv%dAddress(), str],python="
                  "is-instance[IPv%dAddress]]]",
                  version, version, version);
}

static void print_constants_label(struct peri_buf *out, const struct peri_type *type)
{
    const struct peri_constants *constants = &type->constants;
    if (type->kind == PERI_KIND_ENUM) {
        peri_buf_add_str(out, constants->kind == PERI_JSON_STRING    ? "str-enum["
                              : constants->kind == PERI_JSON_INTEGER ? "int-enum["
                                                                     : "enum[");
        peri_buf_add(out, constants->name.data, constants->name.len);
    } else {
        peri_buf_add_lit(out, "literal[");
        for (uint32_t i = 0; i < constants->count; i++) {
            if (i > 0)
                peri_buf_add_byte(out, ',');
            print_constant(out, &constants->items[i]);
        }
    }
    peri_buf_add_byte(out, ']');
}

static void print_scalar_label(struct peri_buf *out, const struct peri_type *type)
{
    bool sized = type->string.has_min || type->string.has_max;
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_STRING:
        sized = sized || type->string.pattern || type->string.strip || type->string.lower ||
                type->string.upper;
        peri_buf_add_str(out, sized ? "constrained-str" : "str");
        break;
    case PERI_KIND_BYTES:
        peri_buf_add_str(out, sized ? "constrained-bytes" : "bytes");
        break;
    case PERI_KIND_INTEGER:
        peri_buf_add_str(out, type->integer.present ? "constrained-int" : "int");
        break;
    case PERI_KIND_NUMBER:
        peri_buf_add_str(out, type->number.bounds.present ? "constrained-float" : "float");
        break;
    case PERI_KIND_IPV4:
        print_address_label(out, 4);
        break;
    case PERI_KIND_IPV6:
        print_address_label(out, 6);
        break;
    case PERI_KIND_SECRET:
        peri_buf_add_str(out, secret_label);
        break;
    case PERI_KIND_EMAIL:
        peri_buf_add_lit(out, "function-after[_validate(), str]");
        break;
    case PERI_KIND_URL:
        peri_buf_add_lit(out, "function-wrap[wrap_val()]");
        break;
    case PERI_KIND_BOOLEAN:
        peri_buf_add_lit(out, "bool");
        break;
    case PERI_KIND_NULL:
        peri_buf_add_lit(out, "none");
        break;
    case PERI_KIND_DURATION:
        peri_buf_add_lit(out, "timedelta");
        break;
    default:
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            if (kinds[i].kind == type->kind) {
                peri_buf_add_str(out, kinds[i].name);
                break;
            }
        }
        break;
    }
}

static void print_tuple_label(struct peri_buf *out, const struct peri_type *type, unsigned depth)
{
    peri_buf_add_lit(out, "tuple[");
    print_labels(out, type->tuple.items, type->tuple.count, ", ", depth);
    if (type->tuple.rest != NULL) {
        if (type->tuple.count > 0)
            peri_buf_add_lit(out, ", ");
        print_label(out, type->tuple.rest, depth);
        peri_buf_add_lit(out, ", ...");
    }
    peri_buf_add_byte(out, ']');
}

/* Pydantic's name of the validator, as a member of a union bears it. */
static void print_bare_label(struct peri_buf *out, const struct peri_type *type, unsigned depth)
{
    if (depth++ > 8) {
        peri_buf_add_lit(out, "...");
        return;
    }
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_REF:
        print_label(out, type->target, depth);
        break;
    case PERI_KIND_MODEL:
        peri_buf_add(out, type->model.name.data, type->model.name.len);
        break;
    case PERI_KIND_ENUM:
    case PERI_KIND_LITERAL:
        print_constants_label(out, type);
        break;
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
        peri_buf_add_str(out, type->kind == PERI_KIND_SET ? "set[" : "list[");
        print_label(out, type->array.item, depth);
        peri_buf_add_byte(out, ']');
        break;
    case PERI_KIND_TUPLE:
        print_tuple_label(out, type, depth);
        break;
    case PERI_KIND_MAP:
        peri_buf_add_lit(out, "dict[");
        print_label(out, type->map.key, depth);
        peri_buf_add_byte(out, ',');
        print_label(out, type->map.value, depth);
        peri_buf_add_byte(out, ']');
        break;
    case PERI_KIND_UNION:
        peri_buf_add_lit(out, "union[");
        for (uint32_t i = 0; i < type->any_of.count; i++) {
            if (i > 0)
                peri_buf_add_byte(out, ',');
            print_bare_label(out, type->any_of.members[i], depth);
        }
        peri_buf_add_byte(out, ']');
        break;
    case PERI_KIND_TAGGED:
        peri_buf_add_lit(out, "tagged-union[");
        for (uint32_t i = 0; i < type->tagged.count; i++) {
            if (i > 0)
                peri_buf_add_byte(out, ',');
            print_label(out, type->tagged.cases[i].type, depth);
        }
        peri_buf_add_byte(out, ']');
        break;
    default:
        print_scalar_label(out, type);
        break;
    }
}

static void print_label(struct peri_buf *out, const struct peri_type *type, unsigned depth)
{
    bool nullable = type->nullable || type->optional;
    if (nullable)
        peri_buf_add_lit(out, "nullable[");
    print_bare_label(out, type, depth);
    if (nullable)
        peri_buf_add_byte(out, ']');
}

/* --------------------------------------------------- finishing a program --- */

static void label_members(struct compiler *c, struct peri_type *type)
{
    for (uint32_t i = 0; i < type->any_of.count; i++) {
        struct peri_type *member = (struct peri_type *) type->any_of.members[i];
        if (member->label.data != NULL)
            continue;
        struct peri_buf label = {0};
        print_bare_label(&label, member, 0);
        member->label = keep_text(c, &label);
        peri_buf_deinit(&label);
    }
}

/* Copies converted values to the program's memory; NULL when a check has to run on them. */
static const struct peri_value *keep_values(struct compiler *c, const struct peri_result *result)
{
    struct peri_value *values = take(c, result->count * sizeof(*values));
    memcpy(values, result->values, result->count * sizeof(*values));
    for (uint32_t i = 0; i < result->count; i++) {
        if (values[i].kind == PERI_VALUE_CHECK)
            return NULL;
        if (values[i].kind != PERI_VALUE_STRING)
            continue;
        char *copy = peri_arena_take(&c->program->arena, values[i].count + 1);
        memcpy(copy, values[i].string, values[i].count);
        values[i].string = copy;
    }
    return values;
}

static void convert_default(struct compiler *c, struct peri_type *type)
{
    struct peri_default *fallback = (struct peri_default *) type->fallback;
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

static void finish(struct compiler *c)
{
    for (struct late *late = c->late; late != NULL; late = late->next) {
        if (late->type->kind == PERI_KIND_UNION)
            label_members(c, late->type);
    }
    for (struct late *late = c->late; late != NULL; late = late->next) {
        if (late->type->fallback != NULL && late->type->fallback->node != NULL)
            convert_default(c, late->type);
    }
}

/* --------------------------------------------------- options of encoding --- */

static const struct peri_choices *compile_choices(struct compiler *c, int table);

/* One entry of include or exclude, whose key and value are on top of the stack. */
static struct peri_choice compile_choice(struct compiler *c)
{
    lua_State *L = c->L;
    struct peri_choice choice = {.index = -1};
    int key = lua_gettop(L) - 1;
    bool listed = lua_type(L, key) == LUA_TNUMBER && lua_type(L, key + 1) == LUA_TSTRING;
    if (listed)
        choice.name = keep_string(c, key + 1);
    else if (lua_type(L, key) == LUA_TSTRING)
        choice.name = keep_string(c, key);
    else
        choice.index = lua_tointeger(L, key);
    if (choice.name.data != NULL && strcmp(choice.name.data, "__all__") == 0)
        choice.name = (struct peri_text){0};
    if (!listed && lua_type(L, key + 1) == LUA_TTABLE)
        choice.nested = compile_choices(c, key + 1);
    return choice;
}

static const struct peri_choices *compile_choices(struct compiler *c, int table)
{
    lua_State *L = c->L;
    luaL_checkstack(L, 10, "include is nested too deeply");
    struct peri_choices *choices = take(c, sizeof(*choices));
    uint32_t count = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        count++;
    struct peri_choice *items = take(c, (count + 1) * sizeof(*items));
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        items[choices->count++] = compile_choice(c);
    choices->items = items;
    return choices;
}

static void compile_options(struct compiler *c, int options)
{
    struct peri_encode_options *out = &c->program->options;
    out->by_name = get(c, options, "by_alias") == LUA_TBOOLEAN && !lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    out->exclude_unset = get_flag(c, options, "exclude_unset");
    out->exclude_defaults = get_flag(c, options, "exclude_defaults");
    out->exclude_none = get_flag(c, options, "exclude_none");
    c->strict = get_flag(c, options, "strict");
    if (get(c, options, "include") == LUA_TTABLE)
        out->include = compile_choices(c, lua_gettop(c->L));
    lua_pop(c->L, 1);
    if (get(c, options, "exclude") == LUA_TTABLE)
        out->exclude = compile_choices(c, lua_gettop(c->L));
    lua_pop(c->L, 1);
}

/* -------------------------------------------------------------- programs --- */

void peri_program_deinit(struct peri_program *program)
{
    peri_patterns_free(program->patterns);
    program->patterns = NULL;
    peri_arena_deinit(&program->arena);
}

/* Pushes the userdata and leaves it below what the compiler needs on the stack. */
static void *start(lua_State *L, struct compiler *c, size_t size, const char *metatable)
{
    void *memory = lua_newuserdatauv(L, size, 1);
    memset(memory, 0, size);
    luaL_setmetatable(L, metatable);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, 1);
    *c = (struct compiler){.L = L, .program = memory, .lua_values = lua_gettop(L)};
    lua_newtable(L);
    peri_json_mark_array(L, -1);
    lua_getmetatable(L, -1);
    lua_rawseti(L, c->lua_values, PERI_LUA_ARRAY_MARK);
    lua_pop(L, 1);
    c->lua_count = PERI_LUA_SCRATCH;
    lua_newtable(L);
    c->memo[0] = lua_gettop(L);
    lua_newtable(L);
    c->memo[1] = lua_gettop(L);
    return memory;
}

struct peri_program *peri_program_new(lua_State *L, int node, int options)
{
    struct compiler c;
    struct peri_program *program = start(L, &c, sizeof(*program), PERI_PROGRAM_TYPE);
    if (lua_istable(L, options))
        compile_options(&c, options);
    struct scope scope = {{NULL, "type"}, c.strict};
    if (lua_istable(L, node)) {
        get(&c, node, "name");
        if (lua_type(L, -1) == LUA_TSTRING)
            scope.place.name = lua_tostring(L, -1); /* the node keeps it alive */
        lua_pop(L, 1);
    }
    program->type = compile(&c, node, &scope);
    finish(&c);
    lua_settop(L, c.lua_values - 1);
    return program;
}

/* ---------------------------------------------------------------- inputs --- */

static const struct {
    const char *name;
    const char *as;
    unsigned uses;
} sources[] = {
    [PERI_SOURCE_PATH] = {"path", "params", PERI_USES_PATH},
    [PERI_SOURCE_QUERY] = {"query", "query", PERI_USES_QUERY},
    [PERI_SOURCE_HEADER] = {"header", "headers", PERI_USES_HEADERS},
    [PERI_SOURCE_COOKIE] = {"cookie", "cookies", PERI_USES_COOKIES},
    [PERI_SOURCE_BODY] = {"body", "body", PERI_USES_BODY},
    [PERI_SOURCE_FORM] = {"form", "form", PERI_USES_FORM},
};
enum { SOURCES = sizeof(sources) / sizeof(sources[0]) };

static struct peri_text with_hyphens(struct compiler *c, struct peri_text name)
{
    char *copy = peri_arena_take(&c->program->arena, name.len + 1);
    for (uint32_t i = 0; i < name.len; i++)
        copy[i] = name.data[i] == '_' ? '-' : name.data[i];
    copy[name.len] = '\0';
    return (struct peri_text){copy, name.len};
}

/* Headers are looked up under another name than their own; separate ones are also reported so. */
static void prepare_headers(struct compiler *c, struct peri_group *group, bool convert)
{
    struct peri_text *lookups = take(c, (group->fields.count + 1) * sizeof(*lookups));
    for (uint32_t i = 0; i < group->fields.count; i++) {
        struct peri_member *member = &group->fields.members[i];
        lookups[i] = convert && !member->has_alias ? with_hyphens(c, member->wire) : member->wire;
        if (group->type == NULL)
            member->wire = lookups[i];
    }
    group->lookups = lookups;
}

/* The model behind a chain of refs; NULL when the type is something else. */
static const struct peri_model *model_of(const struct peri_type *type)
{
    while (type->kind == PERI_KIND_REF)
        type = type->target;
    return type->kind == PERI_KIND_MODEL ? &type->model : NULL;
}

static bool holds_file(const struct peri_type *type)
{
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_FILE:
        return true;
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
        return holds_file(type->array.item);
    case PERI_KIND_REF:
        return holds_file(type->target);
    case PERI_KIND_UNION:
        for (uint32_t i = 0; i < type->any_of.count; i++) {
            if (holds_file(type->any_of.members[i]))
                return true;
        }
        return false;
    default:
        return false;
    }
}

static void compile_group(struct compiler *c, int node, struct peri_group *group)
{
    struct scope scope = {{NULL, "inputs"}, c->strict};
    struct peri_text source = get_text(c, node, "source");
    int found = 0;
    while (found < SOURCES && (!source.data || strcmp(sources[found].name, source.data) != 0))
        found++;
    if (found == SOURCES)
        fail(c, &scope.place, "source must be path, query, header, cookie, body or form");
    scope.place.name = sources[found].name;
    group->source = (enum peri_source) found;
    if (get(c, node, "as") != LUA_TSTRING) {
        lua_pop(c->L, 1);
        lua_pushstring(c->L, sources[found].as);
    }
    group->as = keep_string(c, -1);
    group->as_key = keep_lua(c);
    if (get(c, node, "model") != LUA_TNIL) {
        group->type = compile_top(c, &scope, "model");
        const struct peri_model *model = model_of(group->type);
        if (model != NULL)
            group->fields = *model;
        if (get_flag(c, node, "embed"))
            group->embed = get_text(c, node, "embed_name");
    } else {
        lua_pop(c->L, 1);
        compile_fields(c, node, &scope, &group->fields);
    }
    bool convert = get(c, node, "convert_underscores") == LUA_TNIL || lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    if (group->source == PERI_SOURCE_HEADER)
        prepare_headers(c, group, convert);
    for (uint32_t i = 0; group->source == PERI_SOURCE_FORM && i < group->fields.count; i++) {
        struct peri_member *member = &group->fields.members[i];
        member->is_file = member->is_file || holds_file(member->type);
        group->has_file = group->has_file || member->is_file;
    }
}

static void check_names(struct compiler *c, const struct peri_inputs *inputs)
{
    struct place place = {NULL, "inputs"};
    for (uint32_t i = 0; i < inputs->group_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (peri_text_equals(inputs->groups[i].as, inputs->groups[j].as))
                fail(
                    c, &place,
                    lua_pushfstring(c->L, "two groups are called '%s'", inputs->groups[i].as.data));
        }
    }
}

struct peri_inputs *peri_inputs_new(lua_State *L, int description)
{
    struct compiler c;
    struct peri_inputs *inputs = start(L, &c, sizeof(*inputs), PERI_INPUTS_TYPE);
    struct place place = {NULL, "inputs"};
    c.strict = get_flag(&c, description, "strict");
    inputs->strict_content_type =
        get(&c, description, "strict_content_type") == LUA_TNIL || lua_toboolean(L, -1);
    lua_pop(L, 1);
    lua_pushliteral(L, "files");
    inputs->files_key = keep_lua(&c);
    if (get(&c, description, "groups") != LUA_TTABLE)
        fail(&c, &place, "groups must be a list");
    int list = lua_gettop(L);
    inputs->group_count = (uint32_t) lua_rawlen(L, list);
    inputs->groups = take(&c, (inputs->group_count + 1) * sizeof(*inputs->groups));
    for (uint32_t i = 0; i < inputs->group_count; i++) {
        if (lua_rawgeti(L, list, i + 1) != LUA_TTABLE)
            fail(&c, &place, "a group must be a table");
        struct peri_group *group = &inputs->groups[i];
        compile_group(&c, lua_gettop(L), group);
        lua_pop(L, 1);
        inputs->uses |= sources[group->source].uses | (group->has_file ? PERI_USES_FILES : 0);
    }
    if (inputs->program.has_checks)
        inputs->uses |= PERI_USES_CHECKS;
    check_names(&c, inputs);
    finish(&c);
    lua_settop(L, c.lua_values - 1);
    return inputs;
}
