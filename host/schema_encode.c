/* A Lua value becomes JSON text, validated and filtered by its type on the way.
 *
 * Containers are walked in place. A scalar that is not plainly what its type wants goes through the
 * validator like input would, so a response converts what a request converts. */
#include "schema_encoder.h"

#include "json_lua.h"
#include "schema_string.h"

#include <lauxlib.h>
#include <math.h>

struct peri_result *peri_encoder_take_scratch(struct peri_encoder *e)
{
    lua_State *L = e->L;
    if (lua_rawgeti(L, e->lua_values, PERI_LUA_SCRATCH) == LUA_TUSERDATA) {
        e->scratch = lua_touserdata(L, -1);
        lua_pushnil(L);
        lua_rawseti(L, e->lua_values, PERI_LUA_SCRATCH);
    } else {
        lua_pop(L, 1);
        e->scratch = peri_result_push(L);
    }
    lua_replace(L, e->scratch_index);
    return e->scratch;
}

/* --------------------------------------------------------------- failing --- */

static struct peri_run start_run(struct peri_encoder *e)
{
    return (struct peri_run){
        .result = peri_encoder_scratch(e), .mode = PERI_MODE_VALUE, .from_lua = true};
}

bool peri_encode_fail(struct peri_encoder *e, const struct peri_loc *loc, int index,
                      enum peri_error error)
{
    struct peri_run run = start_run(e);
    peri_result_reset(peri_encoder_scratch(e));
    return peri_fail_plain(&run, loc,
                           peri_tape_from_lua(e->L, index, &peri_encoder_scratch(e)->arena), error);
}

/* response.items[2].price, from the loc of an error. */
static void push_place(lua_State *L, const struct peri_json_node *loc)
{
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    luaL_addstring(&text, "response");
    const struct peri_json_node *step = loc + 1;
    for (uint32_t i = 0; i < loc->count; i++, step += step->skip) {
        if (step->type == PERI_JSON_INTEGER) {
            lua_pushfstring(L, "[%I]", (LUAI_UACINT) step->integer);
        } else {
            luaL_addchar(&text, '.');
            lua_pushlstring(L, step->string, step->count);
        }
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
}

/* Pushes the first error that the validator noted, as one line for the log. */
static void push_message(struct peri_encoder *e)
{
    struct peri_result *result = peri_encoder_scratch(e);
    struct peri_json_error error;
    const struct peri_text detail = {"detail", 6};
    const struct peri_text loc = {"loc", 3};
    const struct peri_text msg = {"msg", 3};
    peri_result_close(result);
    if (result->error_count == 0 ||
        peri_json_parse(&result->error_doc, result->errors.data, result->errors.len,
                        PERI_JSON_MAX_DEPTH, 0, &error) != 0) {
        lua_pushliteral(e->L, "response: does not fit its type");
        return;
    }
    const struct peri_json_node *first = peri_node_find(result->error_doc.nodes, detail) + 1;
    const struct peri_json_node *message = peri_node_find(first, msg);
    push_place(e->L, peri_node_find(first, loc));
    lua_pushliteral(e->L, ": ");
    lua_pushlstring(e->L, message->string, message->count);
    lua_concat(e->L, 3);
}

/* --------------------------------------------------------------- scalars --- */

/* Doubles as Pydantic's own encoder lays them out, which is not quite Python's way: 1e-05 is
 * 0.00001, and negative exponents have no leading zero. */
static void add_number(struct peri_buf *out, double number)
{
    size_t start = out->len;
    peri_json_add_number(out, number);
    const char *text = out->data + start;
    size_t len = out->len - start;
    if (len < 4 || memcmp(text + len - 4, "e-0", 3) != 0)
        return;
    char exponent = text[len - 1];
    if (exponent != '5') {
        out->data[out->len - 2] = exponent;
        out->len--;
        return;
    }
    char digits[24];
    size_t count = 0;
    for (size_t i = 0; i < len - 4; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            digits[count++] = text[i];
    }
    out->len = start + (text[0] == '-');
    peri_buf_add_lit(out, "0.0000");
    peri_buf_add(out, digits, count);
}

static void add_text(struct peri_encoder *e, const struct peri_type *type, const char *text,
                     size_t len)
{
    struct peri_buf *out = e->out;
    while (type->kind == PERI_KIND_REF)
        type = type->target;
    if (type->kind == PERI_KIND_SECRET) {
        peri_buf_add_lit(out, "\"**********\"");
    } else if (type->kind == PERI_KIND_BYTES && type->string.encoding == PERI_ENCODING_BASE64) {
        peri_buf_add_byte(out, '"');
        peri_base64_print(out, text, len);
        peri_buf_add_byte(out, '"');
    } else if (type->kind == PERI_KIND_BYTES && type->string.encoding == PERI_ENCODING_HEX) {
        peri_buf_add_byte(out, '"');
        for (size_t i = 0; i < len; i++)
            peri_buf_addf(out, "%02x", (unsigned char) text[i]);
        peri_buf_add_byte(out, '"');
    } else {
        peri_json_add_string(out, text, len);
    }
}

static void add_temporal(struct peri_buf *out, const struct peri_temporal *temporal)
{
    peri_buf_add_byte(out, '"');
    peri_temporal_print(out, temporal);
    peri_buf_add_byte(out, '"');
}

/* A converted scalar. */
static bool add_value(struct peri_encoder *e, const struct peri_type *type,
                      const struct peri_value *value)
{
    struct peri_buf *out = e->out;
    struct peri_temporal temporal;
    switch ((enum peri_value_kind) value->kind) {
    case PERI_VALUE_FALSE:
        peri_buf_add_lit(out, "false");
        break;
    case PERI_VALUE_TRUE:
        peri_buf_add_lit(out, "true");
        break;
    case PERI_VALUE_INTEGER:
        peri_buf_add_int(out, value->integer);
        break;
    case PERI_VALUE_NUMBER:
        add_number(out, value->number);
        break;
    case PERI_VALUE_STRING:
        add_text(e, type, value->string, value->count);
        break;
    case PERI_VALUE_NONE:
    case PERI_VALUE_NULL:
    case PERI_VALUE_NIL:
        peri_buf_add_lit(out, "null");
        break;
    default:
        temporal = peri_value_temporal(value);
        add_temporal(out, &temporal);
        break;
    }
    return true;
}

/* The node of a scalar Lua value, borrowing its string. False for tables and other objects. */
static bool scalar_node(lua_State *L, int index, const struct peri_type *type,
                        struct peri_json_node *node)
{
    size_t len = 0;
    *node = (struct peri_json_node){.skip = 1};
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        node->string = lua_tolstring(L, index, &len);
        node->count = (uint32_t) len;
        node->type = type->kind == PERI_KIND_BYTES || peri_utf8_valid(node->string, len) != len
                         ? PERI_TAPE_BYTES
                         : PERI_JSON_STRING;
        return true;
    case LUA_TNUMBER:
        node->type = lua_isinteger(L, index) ? PERI_JSON_INTEGER : PERI_JSON_NUMBER;
        if (node->type == PERI_JSON_INTEGER)
            node->integer = lua_tointeger(L, index);
        else
            node->number = lua_tonumber(L, index);
        return true;
    case LUA_TBOOLEAN:
        node->type = lua_toboolean(L, index) ? PERI_JSON_TRUE : PERI_JSON_FALSE;
        return true;
    case LUA_TNIL:
        node->type = PERI_JSON_NULL;
        return true;
    case LUA_TLIGHTUSERDATA:
        node->type = PERI_JSON_NULL;
        return lua_touserdata(L, index) == NULL;
    default:
        return false;
    }
}

/* What needs no validator: the Lua value is just what its type wants. */
bool peri_encode_plain(struct peri_encoder *e, int index, const struct peri_type *type)
{
    size_t len = 0;
    const char *text = NULL;
    switch (lua_type(e->L, index)) {
    case LUA_TSTRING:
        if (type->kind != PERI_KIND_STRING)
            return false;
        text = lua_tolstring(e->L, index, &len);
        return peri_keeps_text(type, len) && peri_json_add_string(e->out, text, len);
    case LUA_TNUMBER:
        if (type->kind == PERI_KIND_NUMBER) {
            double number = lua_tonumber(e->L, index);
            if (!peri_keeps_number(type, number))
                return false;
            add_number(e->out, number);
            return true;
        }
        if (type->kind != PERI_KIND_INTEGER || !lua_isinteger(e->L, index) ||
            !peri_keeps_integer(type, lua_tointeger(e->L, index)))
            return false;
        peri_buf_add_int(e->out, lua_tointeger(e->L, index));
        return true;
    case LUA_TBOOLEAN:
        if (type->kind != PERI_KIND_BOOLEAN)
            return false;
        peri_buf_add_str(e->out, lua_toboolean(e->L, index) ? "true" : "false");
        return true;
    default:
        return false;
    }
}

static bool encode_scalar(struct peri_encoder *e, int index, const struct peri_type *type,
                          const struct peri_loc *loc)
{
    struct peri_json_node room;
    const struct peri_json_node *node = &room;
    peri_result_reset(peri_encoder_scratch(e));
    if (!scalar_node(e->L, index, type, &room))
        node = peri_tape_from_lua(e->L, index, &peri_encoder_scratch(e)->arena);
    struct peri_run run = start_run(e);
    return peri_validate_inner(&run, type, node, loc) &&
           add_value(e, type, peri_encoder_scratch(e)->values);
}

/* ----------------------------------------------------------- collections --- */

static struct peri_filter filter_item(struct peri_filter filter, int64_t index, bool *keep);

/* A table whose keys are 1..n; -1 when it is something else. */
static int64_t count_items(struct peri_encoder *e, int index)
{
    if (lua_type(e->L, index) != LUA_TTABLE)
        return -1;
    lua_Unsigned items = lua_rawlen(e->L, index);
    if (items == 0) {
        lua_pushnil(e->L);
        if (lua_next(e->L, index)) {
            lua_pop(e->L, 2);
            return -1;
        }
    }
    return items > INT32_MAX ? -1 : (int64_t) items;
}

static const struct peri_type *item_type(const struct peri_type *type, int64_t i)
{
    if (type->kind != PERI_KIND_TUPLE)
        return type->array.item;
    return i < type->tuple.count ? type->tuple.items[i] : type->tuple.rest;
}

/* Whether the bounds can only be judged by the validator. */
static bool needs_validator(const struct peri_type *type, int64_t count)
{
    if (type->kind == PERI_KIND_SET)
        return true;
    if (type->kind == PERI_KIND_TUPLE)
        return count < type->tuple.count || (count > type->tuple.count && !type->tuple.rest) ||
               type->tuple.has_min || type->tuple.has_max;
    return type->array.unique || (type->array.has_min && count < type->array.min) ||
           (type->array.has_max && count > type->array.max);
}

bool peri_encode_whole(struct peri_encoder *e, int index, const struct peri_type *type,
                       const struct peri_loc *loc, struct peri_run *run)
{
    peri_result_reset(peri_encoder_scratch(e));
    const struct peri_json_node *node =
        peri_tape_from_lua(e->L, index, &peri_encoder_scratch(e)->arena);
    *run = start_run(e);
    run->budget = 10000 + 64 * node->skip;
    return peri_validate_inner(run, type, node, loc);
}

/* A set without its duplicates, as a new table on top of the stack. */
static void push_deduplicated(struct peri_encoder *e)
{
    struct peri_push push = {.L = e->L,
                             .lua_values = e->lua_values,
                             .result = peri_encoder_scratch(e),
                             .mode = PERI_MODE_VALUE};
    peri_value_push(&push, peri_encoder_scratch(e)->values);
}

/* The items of an array up to the first that is not just what their type wants. Returns how many.
 */
static int64_t encode_plain_items(struct peri_encoder *e, int index, const struct peri_type *type,
                                  int64_t count)
{
    const struct peri_type *item = type->array.item;
    if (type->kind != PERI_KIND_ARRAY || item->kind > PERI_KIND_BOOLEAN || item->serializer != NULL)
        return 0;
    for (int64_t i = 0; i < count; i++) {
        const size_t before = e->out->len;
        if (i > 0)
            peri_buf_add_byte(e->out, ',');
        lua_rawgeti(e->L, index, i + 1);
        bool done = peri_encode_plain(e, -1, item);
        lua_pop(e->L, 1);
        if (!done) {
            e->out->len = before;
            return i;
        }
    }
    return count;
}

static bool encode_items(struct peri_encoder *e, int index, const struct peri_type *type,
                         struct peri_filter filter, const struct peri_loc *loc, int64_t count)
{
    lua_State *L = e->L;
    peri_buf_add_byte(e->out, '[');
    int64_t done = 0;
    if (filter.include == NULL && filter.exclude == NULL)
        done = encode_plain_items(e, index, type, count);
    bool first = done == 0;
    for (int64_t i = done; i < count; i++) {
        struct peri_loc inner = {.up = loc, .index = i};
        bool keep = true;
        struct peri_filter own = filter_item(filter, i, &keep);
        if (!keep)
            continue;
        if (!first)
            peri_buf_add_byte(e->out, ',');
        first = false;
        lua_rawgeti(L, index, i + 1);
        if (!peri_encode(e, lua_gettop(L), item_type(type, i), own, &inner))
            return false;
        lua_pop(L, 1);
    }
    peri_buf_add_byte(e->out, ']');
    return true;
}

static bool encode_array(struct peri_encoder *e, int index, const struct peri_type *type,
                         struct peri_filter filter, const struct peri_loc *loc)
{
    int64_t count = count_items(e, index);
    struct peri_run run;
    if (count >= 0 && !needs_validator(type, count))
        return encode_items(e, index, type, filter, loc, count);
    if (!peri_encode_whole(e, index, type, loc, &run))
        return false;
    if (type->kind != PERI_KIND_SET)
        return encode_items(e, index, type, filter, loc, count);
    push_deduplicated(e);
    int table = lua_gettop(e->L);
    bool sound = encode_items(e, table, type, filter, loc, (int64_t) lua_rawlen(e->L, table));
    if (sound)
        lua_pop(e->L, 1);
    return sound;
}

/* The text of a key is that of its converted value, between quotes whatever it is. */
static bool encode_key(struct peri_encoder *e, int index, const struct peri_type *type,
                       const struct peri_loc *loc)
{
    size_t start = e->out->len;
    struct peri_json_node node;
    const struct peri_json_node *key = &node;
    peri_result_reset(peri_encoder_scratch(e));
    if (!scalar_node(e->L, index, type, &node))
        key = peri_tape_from_lua(e->L, index, &peri_encoder_scratch(e)->arena);
    char digits[24];
    if (node.type == PERI_JSON_INTEGER && type->kind == PERI_KIND_STRING) {
        /* Lua programs write integer keys where JSON has but texts. */
        node.count = (uint32_t) snprintf(digits, sizeof(digits), "%lld", (long long) node.integer);
        node.string = digits;
        node.type = PERI_JSON_STRING;
    }
    struct peri_loc inner = {.up = loc, .name = "[key]", .len = 5};
    struct peri_run run = start_run(e);
    if (!peri_validate(&run, type, key, &inner))
        return false;
    add_value(e, type, peri_encoder_scratch(e)->values);
    if (e->out->data[start] != '"') {
        size_t len = e->out->len - start;
        peri_buf_reserve(e->out, 2);
        memmove(e->out->data + start + 1, e->out->data + start, len);
        e->out->data[start] = '"';
        e->out->len++;
        peri_buf_add_byte(e->out, '"');
    }
    peri_buf_add_byte(e->out, ':');
    return true;
}

struct peri_loc peri_encode_loc(struct peri_encoder *e, int index, const struct peri_loc *loc)
{
    size_t len = 0;
    if (lua_type(e->L, index) != LUA_TSTRING)
        return (struct peri_loc){.up = loc, .index = lua_tointeger(e->L, index)};
    const char *name = lua_tolstring(e->L, index, &len);
    return (struct peri_loc){.up = loc, .name = name, .len = len};
}

bool peri_encode_aside(struct peri_encoder *e, int index, const struct peri_type *type,
                       const struct peri_loc *loc)
{
    const size_t before = e->out->len;
    const bool sound = peri_encode(e, index, type, peri_filter_none, loc);
    if (sound)
        e->out->len = before;
    return sound;
}

static bool encode_map(struct peri_encoder *e, int index, const struct peri_type *type,
                       struct peri_filter filter, const struct peri_loc *loc)
{
    lua_State *L = e->L;
    struct peri_run run;
    if (lua_type(L, index) != LUA_TTABLE)
        return peri_encode_fail(e, loc, index, PERI_ERROR_DICT_TYPE);
    if ((type->map.has_min || type->map.has_max) && !peri_encode_whole(e, index, type, loc, &run))
        return false;
    bool first = true;
    peri_buf_add_byte(e->out, '{');
    lua_pushnil(L);
    for (int key = lua_gettop(L); lua_next(L, index); lua_settop(L, key)) {
        struct peri_loc inner = peri_encode_loc(e, key, loc);
        bool keep = true;
        struct peri_filter own = peri_filter_none;
        if (inner.name != NULL)
            own = peri_filter_named(filter, inner.name, inner.len, &keep);
        bool null = lua_type(L, key + 1) == LUA_TLIGHTUSERDATA;
        if (!keep || (null && e->program->options.exclude_none)) {
            if (!peri_encode_aside(e, key + 1, type->map.value, &inner))
                return false;
            continue;
        }
        if (!first)
            peri_buf_add_byte(e->out, ',');
        first = false;
        if (!encode_key(e, key, type->map.key, &inner) ||
            !peri_encode(e, key + 1, type->map.value, own, &inner))
            return false;
    }
    peri_buf_add_byte(e->out, '}');
    return true;
}

/* --------------------------------------------------------------- choices --- */

static const struct peri_choice *find_choice(const struct peri_choices *choices, const char *name,
                                             size_t len, int64_t index)
{
    const struct peri_choice *all = NULL;
    for (uint32_t i = 0; i < choices->count; i++) {
        const struct peri_choice *choice = &choices->items[i];
        if (choice->index >= 0 && choice->index == index)
            return choice;
        if (choice->name.data != NULL && name != NULL && choice->name.len == len &&
            memcmp(choice->name.data, name, len) == 0)
            return choice;
        if (choice->index < 0 && choice->name.data == NULL)
            all = choice;
    }
    return all;
}

static struct peri_filter narrow(struct peri_filter filter, const char *name, size_t len,
                                 int64_t index, bool *keep)
{
    struct peri_filter inner = peri_filter_none;
    if (filter.include != NULL) {
        const struct peri_choice *choice = find_choice(filter.include, name, len, index);
        *keep = choice != NULL;
        inner.include = choice != NULL ? choice->nested : NULL;
    }
    if (filter.exclude != NULL && *keep) {
        const struct peri_choice *choice = find_choice(filter.exclude, name, len, index);
        *keep = choice == NULL || choice->nested != NULL;
        inner.exclude = choice != NULL ? choice->nested : NULL;
    }
    return inner;
}

struct peri_filter peri_filter_named(struct peri_filter filter, const char *name, size_t len,
                                     bool *keep)
{
    if (filter.include == NULL && filter.exclude == NULL)
        return peri_filter_none;
    return narrow(filter, name, len, -2, keep);
}

static struct peri_filter filter_item(struct peri_filter filter, int64_t index, bool *keep)
{
    if (filter.include == NULL && filter.exclude == NULL)
        return peri_filter_none;
    return narrow(filter, NULL, 0, index, keep);
}

/* -------------------------------------------------------------- the rest --- */

bool peri_encode_untyped(struct peri_encoder *e, int index, const struct peri_loc *loc)
{
    if (lua_type(e->L, index) == LUA_TNUMBER && !lua_isinteger(e->L, index)) {
        add_number(e->out, lua_tonumber(e->L, index)); /* infinities and NaN become null */
        return true;
    }
    if (peri_json_encode(e->L, index, e->out) == 0)
        return true;
    /* Its message names the place inside the value; ours stands before it. */
    struct peri_json_node none = {.type = PERI_JSON_NULL, .skip = 1};
    struct peri_run run = start_run(e);
    size_t len = 0;
    const char *message = lua_tolstring(e->L, -1, &len);
    struct peri_context context = {
        .key = "error", .kind = PERI_CONTEXT_TEXT, .text = {message, (uint32_t) len}};
    peri_result_reset(peri_encoder_scratch(e));
    return peri_fail(&run, loc, &none, PERI_ERROR_VALUE_ERROR, &context, 1);
}

/* The member that a model's value was made by; NULL when it is none of them. */
static const struct peri_type *find_maker(struct peri_encoder *e, int index,
                                          const struct peri_type *type)
{
    const struct peri_type *maker = NULL;
    if (lua_type(e->L, index) != LUA_TTABLE || !peri_push_model_node(e->L, index))
        return NULL;
    for (uint32_t i = 0; i < type->any_of.count && maker == NULL; i++) {
        const struct peri_type *member = type->any_of.members[i];
        while (member->kind == PERI_KIND_REF)
            member = member->target;
        if (member->kind != PERI_KIND_MODEL)
            continue;
        lua_rawgeti(e->L, e->lua_values, member->model.node);
        if (lua_rawequal(e->L, -1, -2))
            maker = type->any_of.members[i];
        lua_pop(e->L, 1);
    }
    lua_pop(e->L, 1);
    return maker;
}

static bool encode_union(struct peri_encoder *e, int index, const struct peri_type *type,
                         struct peri_filter filter, const struct peri_loc *loc)
{
    struct peri_run run;
    const struct peri_type *maker = find_maker(e, index, type);
    if (maker != NULL) /* as Pydantic knows an instance of the class */
        return peri_encode(e, index, maker, filter, loc);
    if (!peri_encode_whole(e, index, type, loc, &run))
        return false;
    return peri_encode(e, index, run.chosen, filter, loc);
}

static bool encode_tagged(struct peri_encoder *e, int index, const struct peri_type *type,
                          struct peri_filter filter, const struct peri_loc *loc)
{
    lua_State *L = e->L;
    struct peri_json_node node;
    const struct peri_constant *found = NULL;
    if (lua_type(L, index) == LUA_TTABLE) {
        lua_pushlstring(L, type->tagged.tag.data, type->tagged.tag.len);
        lua_rawget(L, index);
        if (!lua_isnil(L, -1) && scalar_node(L, lua_gettop(L), type, &node))
            found = peri_constant_find(&type->tagged.cases->tag, sizeof(*type->tagged.cases),
                                       type->tagged.count, &node);
        lua_pop(L, 1);
    }
    if (found == NULL) {
        struct peri_run run; /* for its error */
        return peri_encode_whole(e, index, type, loc, &run);
    }
    return peri_encode(e, index, ((const struct peri_case *) found)->type, filter, loc);
}

static bool encode_kind(struct peri_encoder *e, int index, const struct peri_type *type,
                        struct peri_filter filter, const struct peri_loc *loc)
{
    switch ((enum peri_kind) type->kind) {
    case PERI_KIND_ARRAY:
    case PERI_KIND_SET:
    case PERI_KIND_TUPLE:
        return encode_array(e, index, type, filter, loc);
    case PERI_KIND_MAP:
        return encode_map(e, index, type, filter, loc);
    case PERI_KIND_MODEL:
        return peri_encode_model(e, index, type, filter, loc);
    case PERI_KIND_UNION:
        return encode_union(e, index, type, filter, loc);
    case PERI_KIND_TAGGED:
        return encode_tagged(e, index, type, filter, loc);
    case PERI_KIND_ANY:
        return peri_encode_untyped(e, index, loc);
    case PERI_KIND_REF:
        return peri_encode(e, index, type->target, filter, loc);
    default:
        return encode_scalar(e, index, type, loc);
    }
}

/* A value that is written as what a function of the app's makes of it. */
static bool encode_serialized(struct peri_encoder *e, int index, const struct peri_type *type,
                              struct peri_filter filter, const struct peri_loc *loc)
{
    lua_State *L = e->L;
    luaL_checkstack(L, 12, NULL);
    lua_pushvalue(L, index);
    lua_rawgeti(L, e->lua_values, type->serializer->function);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    bool sound = peri_encode(e, lua_gettop(L), type->serializer->type, filter, loc);
    if (sound)
        lua_pop(L, 1);
    return sound;
}

bool peri_encode_any(struct peri_encoder *e, int index, const struct peri_type *type,
                     struct peri_filter filter, const struct peri_loc *loc)
{
    if ((type->nullable || type->optional) && peri_is_null(e->L, index)) {
        peri_buf_add_lit(e->out, "null");
        return true;
    }
    if (type->serializer != NULL)
        return encode_serialized(e, index, type, filter, loc);
    if (e->depth >= PERI_MAX_DEPTH) /* what could come in can go out */
        return peri_encode_fail(e, loc, e->lua_values, PERI_ERROR_RECURSION_LOOP);
    luaL_checkstack(e->L, 12, NULL);
    e->depth++;
    bool sound = encode_kind(e, index, type, filter, loc);
    e->depth--;
    return sound;
}

int peri_schema_encode(lua_State *L, int index, int program_index, struct peri_buf *out)
{
    const struct peri_program *program = lua_touserdata(L, program_index);
    index = lua_absindex(L, index);
    program_index = lua_absindex(L, program_index);
    int top = lua_gettop(L);
    size_t start = out->len;
    luaL_checkstack(L, 12, NULL);
    lua_getiuservalue(L, program_index, 1);
    lua_pushnil(L); /* the scratch result */
    struct peri_encoder e = {
        .L = L, .out = out, .program = program, .lua_values = top + 1, .scratch_index = top + 2};
    const struct peri_filter filter = {program->options.include, program->options.exclude};
    bool sound = peri_encode(&e, index, program->type, filter, NULL);
    if (!sound) {
        out->len = start;
        lua_settop(L, e.scratch_index);
        push_message(&e);
        lua_insert(L, top + 1);
        e.lua_values++;
        e.scratch_index++;
        top++;
    }
    if (e.scratch != NULL) {
        lua_pushvalue(L, e.scratch_index);
        lua_rawseti(L, e.lua_values, PERI_LUA_SCRATCH);
    }
    lua_settop(L, top);
    return sound ? 0 : -1;
}
