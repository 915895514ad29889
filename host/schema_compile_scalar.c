/* The options of scalar kinds: bounds, lengths, patterns, constants. */
#include "schema_compile.h"
#include "schema_string.h"

#include <lauxlib.h>
#include <string.h>

static void compile_string(struct peri_compiler *c, int node, const struct peri_scope *scope,
                           struct peri_type *type)
{
    peri_compile_sizes(c, node, &scope->place, "length", &type->string.min, &type->string.has_min,
                       &type->string.max, &type->string.has_max);
    type->string.strip = peri_compile_flag(c, node, "strip");
    type->string.lower = peri_compile_flag(c, node, "to_lower");
    type->string.upper = peri_compile_flag(c, node, "to_upper");
    struct peri_text encoding = peri_compile_text(c, node, "encoding");
    if (encoding.data != NULL && strcmp(encoding.data, "base64") == 0)
        type->string.encoding = PERI_ENCODING_BASE64;
    else if (encoding.data != NULL && strcmp(encoding.data, "hex") == 0)
        type->string.encoding = PERI_ENCODING_HEX;
    type->string.pattern_text = peri_compile_text(c, node, "pattern");
    if (type->string.pattern_text.data == NULL)
        return;
    struct peri_buf reason = {0};
    type->string.pattern =
        peri_pattern_new(&c->types->patterns, type->string.pattern_text, &reason);
    if (type->string.pattern == NULL) {
        lua_pushliteral(c->L, "pattern: ");
        lua_pushlstring(c->L, reason.data, reason.len);
        peri_buf_deinit(&reason);
        lua_concat(c->L, 2);
        peri_compile_fail(c, &scope->place, lua_tostring(c->L, -1));
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

static void compile_integer(struct peri_compiler *c, int node, const struct peri_scope *scope,
                            struct peri_integer_bounds *bounds)
{
    int64_t *places[BOUNDS] = {&bounds->gt, &bounds->ge, &bounds->lt, &bounds->le,
                               &bounds->multiple};
    for (int i = 0; i < BOUNDS; i++) {
        if (peri_compile_get(c, node, bound_names[i].name) != LUA_TNIL) {
            int whole = 0;
            *places[i] = lua_tointegerx(c->L, -1, &whole);
            if (!whole)
                peri_compile_fail(
                    c, &scope->place,
                    lua_pushfstring(c->L, "%s must be an integer", bound_names[i].name));
            bounds->present |= bound_names[i].bit;
        }
        lua_pop(c->L, 1);
    }
}

static void compile_number(struct peri_compiler *c, int node, const struct peri_scope *scope,
                           struct peri_type *type)
{
    struct peri_number_bounds *bounds = &type->number.bounds;
    double *places[BOUNDS] = {&bounds->gt, &bounds->ge, &bounds->lt, &bounds->le,
                              &bounds->multiple};
    for (int i = 0; i < BOUNDS; i++) {
        if (peri_compile_get(c, node, bound_names[i].name) != LUA_TNIL) {
            int number = 0;
            *places[i] = lua_tonumberx(c->L, -1, &number);
            if (!number)
                peri_compile_fail(
                    c, &scope->place,
                    lua_pushfstring(c->L, "%s must be a number", bound_names[i].name));
            bounds->present |= bound_names[i].bit;
        }
        lua_pop(c->L, 1);
    }
    if (peri_compile_get(c, node, "allow_inf_nan") != LUA_TNIL)
        type->number.finite = !lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
}

static void compile_decimal(struct peri_compiler *c, int node, const struct peri_scope *scope,
                            struct peri_type *type)
{
    struct peri_decimal_bounds *bounds = &type->decimal.bounds;
    struct peri_text *places[BOUNDS] = {&bounds->gt, &bounds->ge, &bounds->lt, &bounds->le,
                                        &bounds->multiple};
    for (int i = 0; i < BOUNDS; i++) {
        if (peri_compile_get(c, node, bound_names[i].name) != LUA_TNIL) {
            if (lua_tostring(c->L, -1) == NULL)
                peri_compile_fail(
                    c, &scope->place,
                    lua_pushfstring(c->L, "%s must be a decimal", bound_names[i].name));
            struct peri_text text = peri_compile_keep_string(c, -1);
            struct peri_decimal decimal;
            if (!peri_decimal_read(text, peri_compile_take(c, text.len + 1), &decimal) ||
                decimal.special)
                peri_compile_fail(
                    c, &scope->place,
                    lua_pushfstring(c->L, "%s must be a decimal", bound_names[i].name));
            struct peri_buf shown = {0};
            peri_decimal_print(&shown, &decimal);
            *places[i] = peri_compile_keep_text(c, &shown);
            peri_buf_deinit(&shown);
            bounds->present |= bound_names[i].bit;
        }
        lua_pop(c->L, 1);
    }
    bounds->check_digits =
        peri_compile_size(c, node, &scope->place, "max_digits", &bounds->max_digits);
    bounds->check_places =
        peri_compile_size(c, node, &scope->place, "decimal_places", &bounds->places);
    type->decimal.allow_inf_nan = peri_compile_flag(c, node, "allow_inf_nan");
}

static bool read_temporal(struct peri_compiler *c, enum peri_kind kind, struct peri_temporal *out)
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

static void compile_temporal(struct peri_compiler *c, int node, const struct peri_scope *scope,
                             struct peri_type *type)
{
    struct peri_temporal_bounds *bounds = &type->temporal;
    struct peri_temporal *places[BOUNDS] = {&bounds->gt, &bounds->ge, &bounds->lt, &bounds->le,
                                            &bounds->multiple};
    for (int i = 0; i < BOUNDS; i++) {
        if (peri_compile_get(c, node, bound_names[i].name) != LUA_TNIL) {
            if (!read_temporal(c, type->kind, places[i]))
                peri_compile_fail(
                    c, &scope->place,
                    lua_pushfstring(c->L, "%s does not fit the type", bound_names[i].name));
            bounds->present |= bound_names[i].bit;
        }
        lua_pop(c->L, 1);
    }
}

/* t.file({ max_bytes = 1 << 20, types = { "image/png", "text/plain" } }), and "image/" with a star
 * for all images */
static void compile_file(struct peri_compiler *c, int node, struct peri_type *type)
{
    type->file.has_max = peri_compile_get(c, node, "max_bytes") == LUA_TNUMBER;
    type->file.max_bytes = type->file.has_max ? (uint64_t) lua_tointeger(c->L, -1) : 0;
    lua_pop(c->L, 1);
    if (peri_compile_get(c, node, "types") == LUA_TTABLE) {
        uint32_t count = (uint32_t) lua_rawlen(c->L, -1);
        struct peri_text *types = peri_compile_take(c, count * sizeof(*types));
        struct peri_buf expected = {0};
        for (uint32_t i = 0; i < count; i++) {
            lua_rawgeti(c->L, -1, i + 1);
            types[i] = peri_compile_keep_string(c, -1);
            lua_pop(c->L, 1);
            peri_buf_addf(&expected, "%s'%.*s'",
                          i == 0           ? ""
                          : i + 1 == count ? " or "
                                           : ", ",
                          (int) types[i].len, types[i].data);
            if (types[i].data[types[i].len - 1] == '*')
                types[i].len--;
        }
        type->file.types = types;
        type->file.type_count = count;
        type->file.expected = peri_compile_keep_text(c, &expected);
        peri_buf_deinit(&expected);
    }
    lua_pop(c->L, 1);
}

static void compile_url(struct peri_compiler *c, int node, const struct peri_scope *scope,
                        struct peri_type *type)
{
    type->url.has_max = peri_compile_size(c, node, &scope->place, "max_length", &type->url.max);
    type->url.any_host =
        peri_compile_get(c, node, "host_required") == LUA_TNIL || !lua_toboolean(c->L, -1);
    lua_pop(c->L, 1);
    if (peri_compile_get(c, node, "schemes") == LUA_TTABLE) {
        uint32_t count = (uint32_t) lua_rawlen(c->L, -1);
        struct peri_text *schemes = peri_compile_take(c, count * sizeof(*schemes));
        struct peri_buf expected = {0};
        for (uint32_t i = 0; i < count; i++) {
            lua_rawgeti(c->L, -1, i + 1);
            if (lua_type(c->L, -1) == LUA_TSTRING)
                schemes[i] = peri_compile_keep_string(c, -1);
            lua_pop(c->L, 1);
            peri_buf_addf(&expected, "%s'%.*s'",
                          i == 0           ? ""
                          : i + 1 == count ? " or "
                                           : ", ",
                          (int) schemes[i].len, schemes[i].data);
        }
        type->url.schemes = schemes;
        type->url.scheme_count = count;
        type->url.expected = peri_compile_keep_text(c, &expected);
        peri_buf_deinit(&expected);
    }
    lua_pop(c->L, 1);
}

/* ------------------------------------------------------------- constants --- */

/* The constant on top of the stack. */
struct peri_constant peri_compile_constant(struct peri_compiler *c, const struct peri_scope *scope)
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
        constant.text = peri_compile_keep_string(c, -1);
        break;
    case LUA_TNUMBER:
        constant.type = PERI_JSON_INTEGER;
        constant.integer = lua_tointegerx(c->L, -1, &whole);
        if (whole)
            break;
        /* fall through */
    default:
        peri_compile_fail(c, &scope->place,
                          "values must be strings, integers, booleans or json.null");
    }
    return constant;
}

static void compile_constants(struct peri_compiler *c, int node, const struct peri_scope *scope,
                              struct peri_type *type)
{
    struct peri_constants *constants = &type->constants;
    if (peri_compile_get(c, node, "values") != LUA_TTABLE || lua_rawlen(c->L, -1) == 0)
        peri_compile_fail(c, &scope->place, "values must be a list");
    constants->count = (uint32_t) lua_rawlen(c->L, -1);
    struct peri_constant *items = peri_compile_take(c, constants->count * sizeof(*items));
    for (uint32_t i = 0; i < constants->count; i++) {
        lua_rawgeti(c->L, -1, i + 1);
        items[i] = peri_compile_constant(c, scope);
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
        peri_repr_constant(&expected, &items[i]);
    }
    constants->expected = peri_compile_keep_text(c, &expected);
    peri_buf_deinit(&expected);
    constants->name = peri_compile_text(c, node, "name");
    if (constants->name.data == NULL)
        constants->name = (struct peri_text){"Enum", 4};
}

void peri_compile_scalar(struct peri_compiler *c, int node, const struct peri_scope *scope,
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
    case PERI_KIND_FILE:
        compile_file(c, node, type);
        break;
    default: /* the others have no options of their own */
        break;
    }
}
