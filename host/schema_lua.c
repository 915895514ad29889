/* Validated values become Lua values in one pass, and Lua values become tapes. */
#include "schema_lua.h"

#include "json_lua.h"
#include "schema_string.h"

#include <lauxlib.h>
#include <math.h>
#include <stdatomic.h>

enum { MAX_DEPTH = 200, MAX_METATABLES = 64 };

/* Their addresses are keys in the metatable of a model's value: the names that are set, and the
 * node of the model. */
static const char set_key;
static const char node_key;

/* -------------------------------------------------------------- counters --- */

static atomic_ulong validations, rejections;

void peri_schema_count(unsigned validated, unsigned rejected)
{
    atomic_fetch_add_explicit(&validations, validated, memory_order_relaxed);
    if (rejected > 0)
        atomic_fetch_add_explicit(&rejections, rejected, memory_order_relaxed);
}

static void set_count(lua_State *L, const char *name, unsigned long value)
{
    lua_pushinteger(L, (lua_Integer) value);
    lua_setfield(L, -2, name);
}

void peri_schema_push_stats(lua_State *L)
{
    lua_createtable(L, 0, 3);
    set_count(L, "validations", atomic_load(&validations));
    set_count(L, "rejected", atomic_load(&rejections));
    set_count(L, "patterns_failed", peri_pattern_failures());
}

/* -------------------------------------------------- results on the stack --- */

#define RESULT_TYPE "perigee.schema.result"

static int result_gc(lua_State *L)
{
    peri_result_deinit(luaL_checkudata(L, 1, RESULT_TYPE));
    return 0;
}

struct peri_result *peri_result_push(lua_State *L)
{
    struct peri_result *result = lua_newuserdatauv(L, sizeof(*result), 0);
    *result = (struct peri_result){0};
    if (luaL_newmetatable(L, RESULT_TYPE)) {
        lua_pushcfunction(L, result_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return result;
}

void peri_result_push_errors(lua_State *L, const struct peri_result *result)
{
    struct peri_json_doc *doc = &((struct peri_result *) result)->error_doc;
    struct peri_json_error error;
    const struct peri_text key = {"detail", 6};
    if (result->error_count > 0 && peri_json_parse(doc, result->errors.data, result->errors.len,
                                                   PERI_JSON_MAX_DEPTH, 0, &error) == 0)
        peri_json_push_node(L, peri_node_find(doc->nodes, key));
    else
        lua_newtable(L);
}

/* ------------------------------------------------------- tapes of values --- */

/* Which of the two a table is; an empty unmarked one is both. */
enum shape { SHAPE_EMPTY, SHAPE_ARRAY, SHAPE_OBJECT };

static bool has_mark(lua_State *L, int index, void (*mark)(lua_State *L, int index))
{
    if (!lua_getmetatable(L, index))
        return false;
    lua_newtable(L);
    mark(L, -1);
    lua_getmetatable(L, -1);
    bool same = lua_rawequal(L, -1, -3);
    lua_pop(L, 3);
    return same;
}

static enum shape shape_of(lua_State *L, int index, uint32_t *count)
{
    lua_Unsigned keys = 0;
    lua_Unsigned items = lua_rawlen(L, index);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        keys++;
    if (keys > INT32_MAX)
        luaL_error(L, "a table is too large to be validated");
    *count = (uint32_t) keys;
    if (keys > 0)
        return keys == items ? SHAPE_ARRAY : SHAPE_OBJECT;
    if (has_mark(L, index, peri_json_mark_array))
        return SHAPE_ARRAY;
    bool model = peri_push_set_names(L, index);
    if (model)
        lua_pop(L, 1);
    return model || has_mark(L, index, peri_json_mark_object) ? SHAPE_OBJECT : SHAPE_EMPTY;
}

/* How many nodes the value needs. */
static uint32_t count_nodes(lua_State *L, int index, int depth)
{
    if (lua_type(L, index) != LUA_TTABLE)
        return 1;
    if (depth > MAX_DEPTH)
        luaL_error(L, "a value is nested too deeply to be validated");
    luaL_checkstack(L, 6, NULL);
    uint64_t count = 1;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        count += 1 + count_nodes(L, lua_gettop(L), depth + 1);
        if (count > INT32_MAX)
            luaL_error(L, "a value is too large to be validated");
    }
    return (uint32_t) count;
}

static void set_text(lua_State *L, int index, struct peri_arena *arena, struct peri_json_node *node)
{
    size_t len = 0;
    const char *text = lua_tolstring(L, index, &len);
    char *copy = peri_arena_take(arena, len + 1);
    memcpy(copy, text, len);
    node->type = peri_utf8_valid(copy, len) == len ? PERI_JSON_STRING : PERI_TAPE_BYTES;
    node->string = copy;
    node->count = (uint32_t) len;
}

/* A temporal value is its text, with its kind in `at`. */
static void set_temporal(const struct peri_temporal *temporal, struct peri_arena *arena,
                         struct peri_json_node *node)
{
    struct peri_buf text = {0};
    peri_temporal_print(&text, temporal);
    char *copy = peri_arena_take(arena, text.len);
    memcpy(copy, text.data, text.len);
    *node = (struct peri_json_node){.type = PERI_JSON_STRING,
                                    .ascii = PERI_NODE_ASCII | PERI_NODE_TEMPORAL,
                                    .skip = 1,
                                    .count = (uint32_t) text.len,
                                    .at = temporal->kind,
                                    .string = copy};
    peri_buf_deinit(&text);
}

static void set_scalar(lua_State *L, int index, struct peri_arena *arena,
                       struct peri_json_node *node)
{
    const struct peri_temporal *temporal = NULL;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        node->type = PERI_JSON_NULL;
        break;
    case LUA_TBOOLEAN:
        node->type = lua_toboolean(L, index) ? PERI_JSON_TRUE : PERI_JSON_FALSE;
        break;
    case LUA_TNUMBER:
        node->type = lua_isinteger(L, index) ? PERI_JSON_INTEGER : PERI_JSON_NUMBER;
        if (node->type == PERI_JSON_INTEGER)
            node->integer = lua_tointeger(L, index);
        else
            node->number = lua_tonumber(L, index);
        break;
    case LUA_TSTRING:
        set_text(L, index, arena, node);
        break;
    case LUA_TLIGHTUSERDATA:
        node->type = lua_touserdata(L, index) == NULL ? PERI_JSON_NULL : PERI_TAPE_OPAQUE;
        break;
    default:
        temporal = peri_temporal_test(L, index);
        node->type = PERI_TAPE_OPAQUE;
        break;
    }
    if (temporal != NULL)
        set_temporal(temporal, arena, node);
    if (node->type == PERI_TAPE_OPAQUE) {
        node->string = luaL_typename(L, index);
        node->count = (uint32_t) strlen(node->string);
    }
}

/* A key that is neither text nor integer becomes one, so that errors can name it. */
static void set_key_node(lua_State *L, int index, struct peri_arena *arena,
                         struct peri_json_node *node)
{
    *node = (struct peri_json_node){.skip = 1};
    if (lua_type(L, index) == LUA_TSTRING || lua_isinteger(L, index)) {
        set_scalar(L, index, arena, node);
        return;
    }
    luaL_tolstring(L, index, NULL);
    set_text(L, -1, arena, node);
    lua_pop(L, 1);
}

/* Writes the nodes of the value at `index` and returns how many. */
static uint32_t fill(lua_State *L, int index, struct peri_arena *arena, struct peri_json_node *node)
{
    *node = (struct peri_json_node){.skip = 1};
    if (lua_type(L, index) != LUA_TTABLE) {
        set_scalar(L, index, arena, node);
        return 1;
    }
    uint32_t used = 1;
    uint32_t count = 0;
    enum shape shape = shape_of(L, index, &count);
    if (shape == SHAPE_ARRAY) {
        for (uint32_t i = 1; i <= count; i++) {
            lua_rawgeti(L, index, i);
            used += fill(L, lua_gettop(L), arena, node + used);
            lua_pop(L, 1);
        }
    } else if (shape == SHAPE_OBJECT) {
        for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
            set_key_node(L, lua_gettop(L) - 1, arena, node + used);
            used++;
            used += fill(L, lua_gettop(L), arena, node + used);
        }
    }
    node->type = shape == SHAPE_ARRAY    ? PERI_JSON_ARRAY
                 : shape == SHAPE_OBJECT ? PERI_JSON_OBJECT
                                         : PERI_TAPE_EMPTY;
    node->count = count;
    node->skip = used;
    return used;
}

const struct peri_json_node *peri_tape_from_lua(lua_State *L, int index, struct peri_arena *arena)
{
    index = lua_absindex(L, index);
    uint32_t count = count_nodes(L, index, 0);
    struct peri_json_node *nodes = peri_arena_take(arena, count * sizeof(*nodes));
    fill(L, index, arena, nodes);
    return nodes;
}

/* --------------------------------------------------- values of our nodes --- */

static void push_file(struct peri_push *push, const struct peri_field *field)
{
    if (push->result->push_file != NULL)
        push->result->push_file(push->L, field->file);
    else
        lua_pushnil(push->L);
}

static void push_temporal_text(lua_State *L, const struct peri_json_node *node)
{
    struct peri_temporal temporal = {0};
    switch ((enum peri_temporal_kind) node->at) {
    case PERI_DATETIME:
        peri_datetime_parse(node->string, node->count, &temporal);
        break;
    case PERI_DATE:
        peri_date_parse(node->string, node->count, &temporal);
        break;
    case PERI_TIME:
        peri_time_parse(node->string, node->count, &temporal);
        break;
    case PERI_DURATION:
        peri_duration_parse(node->string, node->count, &temporal);
        break;
    }
    peri_temporal_push(L, temporal);
}

void peri_node_push(struct peri_push *push, const struct peri_json_node *node)
{
    lua_State *L = push->L;
    const struct peri_json_node *end = node + node->skip;
    luaL_checkstack(L, 6, NULL);
    if (node->ascii & PERI_NODE_TEMPORAL) {
        push_temporal_text(L, node);
        return;
    }
    switch (node->type) {
    case PERI_TAPE_BYTES:
    case PERI_TAPE_OPAQUE:
        lua_pushlstring(L, node->string, node->count);
        break;
    case PERI_TAPE_FILE:
        push_file(push, (const struct peri_field *) node->string);
        break;
    case PERI_TAPE_EMPTY:
        lua_newtable(L);
        break;
    case PERI_JSON_ARRAY:
        lua_createtable(L, (int) node->count, 0);
        node++;
        for (lua_Integer i = 1; node < end; node += node->skip, i++) {
            peri_node_push(push, node);
            lua_rawseti(L, -2, i);
        }
        lua_rawgeti(L, push->lua_values, PERI_LUA_ARRAY_MARK);
        lua_setmetatable(L, -2);
        break;
    case PERI_JSON_OBJECT:
        lua_createtable(L, 0, (int) node->count);
        for (node++; node < end; node += node->skip) {
            peri_json_push_node(L, node);
            node += node->skip;
            peri_node_push(push, node);
            lua_rawset(L, -3);
        }
        break;
    default:
        peri_json_push_node(L, node);
        break;
    }
}

/* --------------------------------------------------------- checks in Lua --- */

/* Runs one function on the value on top of the stack. False when it refused; nil is then on top. */
static bool run_check(struct peri_push *push, int function, const struct peri_pending *pending)
{
    lua_State *L = push->L;
    lua_rawgeti(L, push->lua_values, function);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        if (lua_isnil(L, -1))
            lua_pop(L, 1); /* keeps the value */
        else
            lua_remove(L, -2);
        return true;
    }
    size_t len = 0;
    const char *message = luaL_tolstring(L, -1, &len);
    struct peri_run run = {.result = push->result, .mode = push->mode};
    struct peri_context context = {
        .key = "error", .kind = PERI_CONTEXT_ERROR, .text = {message, (uint32_t) len}};
    peri_mark_secrets(pending->type, pending->input);
    peri_fail(&run, pending->loc, pending->input, PERI_ERROR_VALUE_ERROR, &context, 1);
    lua_pop(L, 4);
    lua_pushnil(L);
    return false;
}

static bool run_checks(struct peri_push *push, int first, uint32_t count,
                       const struct peri_pending *pending)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!run_check(push, first + (int) i, pending))
            return false;
    }
    return true;
}

/* Validates the Lua value on top, which "before" functions made, and replaces it by what comes out.
 * Errors go on behind those of the result; the buffer travels, so that raising leaks nothing. */
static void convert_top(struct peri_push *push, const struct peri_pending *pending)
{
    lua_State *L = push->L;
    struct peri_result *result = peri_result_push(L);
    const struct peri_json_node *node = peri_tape_from_lua(L, -2, &result->arena);
    result->errors = push->result->errors;
    result->error_count = push->result->error_count;
    push->result->errors = (struct peri_buf){0};
    result->push_file = push->result->push_file;
    result->codes = push->result->codes;
    struct peri_run run = {.result = result, .mode = push->mode, .budget = 10000 + 64 * node->skip};
    struct peri_push inner = *push;
    inner.result = result;
    const struct peri_type *type = pending->type;
    if (node->type == PERI_JSON_NULL && (type->optional || type->nullable))
        lua_pushnil(L);
    else if (peri_validate_inner(&run, type, node, pending->loc))
        peri_value_push(&inner, result->values);
    else
        lua_pushnil(L);
    push->result->errors = result->errors;
    push->result->error_count = result->error_count;
    result->errors = (struct peri_buf){0};
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static const struct peri_value *push_checked(struct peri_push *push, const struct peri_value *at)
{
    const struct peri_pending *pending = at->pending;
    const struct peri_checks *checks = pending->type->checks;
    const uint32_t errors = push->result->error_count;
    const struct peri_value *next = at + 2;
    luaL_checkstack(push->L, 8, NULL);
    if (checks->before_count > 0) {
        peri_node_push(push, pending->input);
        if (run_checks(push, checks->before, checks->before_count, pending))
            convert_top(push, pending);
    } else {
        next = peri_value_push(push, at + 1);
    }
    if (push->result->error_count == errors)
        run_checks(push, checks->after, checks->after_count, pending);
    return next;
}

/* ---------------------------------------------------------- value to Lua --- */

static int model_fields_set(lua_State *L)
{
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, lua_upvalueindex(1)); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_pushboolean(L, 1);
        lua_rawset(L, -5);
    }
    return 1;
}

bool peri_push_set_names(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    bool found = lua_rawgetp(L, -1, &set_key) == LUA_TTABLE;
    lua_remove(L, -2);
    if (!found)
        lua_pop(L, 1);
    return found;
}

bool peri_push_model_node(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    bool found = lua_rawgetp(L, -1, &node_key) == LUA_TTABLE;
    lua_remove(L, -2);
    if (!found)
        lua_pop(L, 1);
    return found;
}

/* The members of a model's value as JSON writes them where no response type says otherwise. */
static void push_json_members(struct peri_push *push, const struct peri_model *model)
{
    lua_State *L = push->L;
    lua_Integer used = 0;
    lua_createtable(L, (int) (2 * (model->count + model->computed_count)), 0);
    for (uint32_t i = 0; i < model->count; i++) {
        const struct peri_member *member = &model->members[i];
        struct peri_text name = member->has_alias ? member->wire : member->name;
        lua_rawgeti(L, push->lua_values, member->key);
        lua_rawseti(L, -2, ++used);
        lua_pushlstring(L, name.data, name.len);
        lua_rawseti(L, -2, ++used);
    }
    for (uint32_t i = 0; i < model->computed_count; i++) {
        lua_rawgeti(L, push->lua_values, model->computed[i].function);
        lua_rawseti(L, -2, ++used);
        lua_pushlstring(L, model->computed[i].name.data, model->computed[i].name.len);
        lua_rawseti(L, -2, ++used);
    }
}

/* Makes the metatable of a model's value. The names that are set are the table on top of the stack,
 * which the metatable replaces. */
static void push_set_metatable(lua_State *L)
{
    lua_createtable(L, 0, 4);
    lua_insert(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, &set_key);
    lua_pushcclosure(L, model_fields_set, 1);
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "fields_set");
    lua_setfield(L, -2, "__index");
}

void peri_push_model_mark(lua_State *L, int index)
{
    lua_getmetatable(L, index);
    int metatable = lua_gettop(L);
    lua_getfield(L, metatable, "__name");
    lua_rawgetp(L, metatable, &set_key);
    lua_createtable(L, 8, 0);
    lua_rawgetp(L, metatable, &peri_json_members);
    lua_Unsigned count = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    lua_Integer used = 0;
    for (lua_Unsigned i = 1; i + 1 <= count; i += 2) {
        if (lua_rawgeti(L, -1, (lua_Integer) i) == LUA_TFUNCTION) {
            lua_pop(L, 1);
            continue;
        }
        lua_rawgeti(L, -2, (lua_Integer) i + 1);
        lua_rawseti(L, -4, used + 2);
        lua_rawseti(L, -3, used + 1);
        used += 2;
    }
    lua_pop(L, 1);
    lua_remove(L, metatable);
}

void peri_push_marked_metatable(lua_State *L)
{
    int name = lua_gettop(L) - 2;
    lua_pushvalue(L, name + 1);
    push_set_metatable(L);
    lua_pushvalue(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushvalue(L, name + 2);
    lua_rawsetp(L, -2, &peri_json_members);
    lua_replace(L, name);
    lua_settop(L, name);
}

/* The metatable of a model's value. The names that are set are the table on top of the stack, which
 * the metatable replaces. */
static void push_model_metatable(struct peri_push *push, const struct peri_model *model)
{
    lua_State *L = push->L;
    push_set_metatable(L);
    lua_pushlstring(L, model->name.data, model->name.len);
    lua_setfield(L, -2, "__name");
    lua_rawgeti(L, push->lua_values, model->node);
    lua_rawsetp(L, -2, &node_key);
    push_json_members(push, model);
    lua_rawsetp(L, -2, &peri_json_members);
}

static void push_names(struct peri_push *push, const struct peri_model *model, uint64_t mask)
{
    lua_State *L = push->L;
    lua_newtable(L);
    for (uint32_t i = 0; i < model->count && i < 64; i++) {
        if (!(mask >> i & 1))
            continue;
        lua_rawgeti(L, push->lua_values, model->members[i].key);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
}

/* Gives the value on top of the stack the metatable for this set of fields; the usual sets are made
 * once. */
static void set_cached_metatable(struct peri_push *push, const struct peri_model *model,
                                 uint64_t mask)
{
    lua_State *L = push->L;
    lua_rawgeti(L, push->lua_values, model->metatables);
    if (lua_rawgeti(L, -1, (lua_Integer) mask) == LUA_TNIL) {
        lua_pop(L, 1);
        push_names(push, model, mask);
        push_model_metatable(push, model);
        if (model->cached < MAX_METATABLES) {
            ((struct peri_model *) model)->cached++;
            lua_pushvalue(L, -1);
            lua_rawseti(L, -3, (lua_Integer) mask);
        }
    }
    lua_setmetatable(L, -3);
    lua_pop(L, 1);
}

/* set[name] = true */
static void add_name(lua_State *L, int set, int name)
{
    set = lua_absindex(L, set);
    lua_pushvalue(L, name);
    lua_pushboolean(L, 1);
    lua_rawset(L, set);
}

/* Extra fields and those beyond the 64th belong to this value alone. */
static void push_own_metatable(struct peri_push *push, const struct peri_model *model,
                               uint64_t mask, const struct peri_value *values)
{
    lua_State *L = push->L;
    push_names(push, model, mask);
    const struct peri_value *at = values + 1;
    for (uint32_t i = 0; i < model->count; i++) {
        if (i >= 64 && at->set) {
            lua_rawgeti(L, push->lua_values, model->members[i].key);
            lua_pushboolean(L, 1);
            lua_rawset(L, -3);
        }
        at = push->result->values +
             peri_value_end(push->result, (uint32_t) (at - push->result->values));
    }
    lua_createtable(L, (int) values->count, (int) values->count); /* the extra names in order */
    lua_Integer used = 0;
    for (uint32_t i = 0; i < values->count; i++, at += 2) {
        lua_pushlstring(L, at->string, at->count);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pushvalue(L, -2);
            lua_rawseti(L, -4, ++used);
            add_name(L, -3, -2);
            add_name(L, -4, -2);
        }
        lua_pop(L, 2);
    }
    lua_insert(L, -2);
    push_model_metatable(push, model);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, &peri_json_extras);
}

/* The usual scalars, where the values of tables are pushed; anything else the long way. */
static inline const struct peri_value *push_inside(struct peri_push *push,
                                                   const struct peri_value *at)
{
    switch ((enum peri_value_kind) at->kind) {
    case PERI_VALUE_INTEGER:
        lua_pushinteger(push->L, at->integer);
        return at + 1;
    case PERI_VALUE_NUMBER:
        lua_pushnumber(push->L, at->number);
        return at + 1;
    case PERI_VALUE_STRING:
        lua_pushlstring(push->L, at->string, at->count);
        return at + 1;
    default:
        return peri_value_push(push, at);
    }
}

static const struct peri_value *push_model(struct peri_push *push, const struct peri_value *at)
{
    lua_State *L = push->L;
    const struct peri_value *values = at;
    const struct peri_model *model = &at->type->model;
    uint64_t mask = 0;
    lua_createtable(L, 0, (int) (model->count + at->count));
    at++;
    for (uint32_t i = 0; i < model->count; i++) {
        if (at->set && i < 64)
            mask |= UINT64_C(1) << i;
        if (at->kind == PERI_VALUE_NONE || at->kind == PERI_VALUE_NIL) {
            at++;
            continue;
        }
        lua_rawgeti(L, push->lua_values, model->members[i].key);
        at = push_inside(push, at);
        lua_rawset(L, -3);
    }
    for (uint32_t i = 0; i < values->count; i++) {
        lua_pushlstring(L, at->string, at->count);
        at = peri_value_push(push, at + 1);
        lua_rawset(L, -3);
    }
    bool in_result =
        values >= push->result->values && values < push->result->values + push->result->count;
    if (in_result && (values->count > 0 || model->count > 64)) {
        push_own_metatable(push, model, mask, values);
        lua_setmetatable(L, -2);
    } else {
        set_cached_metatable(push, model, mask);
    }
    return at;
}

static const struct peri_value *push_item(struct peri_push *push, const struct peri_value *at)
{
    if (at->kind != PERI_VALUE_NIL && at->kind != PERI_VALUE_NONE)
        return push_inside(push, at);
    peri_json_push_null(push->L); /* a nil would leave a hole */
    return at + 1;
}

static const struct peri_value *push_array(struct peri_push *push, const struct peri_value *at)
{
    lua_State *L = push->L;
    uint32_t count = at->count;
    lua_createtable(L, (int) count, 0);
    at++;
    for (uint32_t i = 1; i <= count; i++) {
        at = push_item(push, at);
        lua_rawseti(L, -2, i);
    }
    lua_rawgeti(L, push->lua_values, PERI_LUA_ARRAY_MARK);
    lua_setmetatable(L, -2);
    return at;
}

static const struct peri_value *push_map(struct peri_push *push, const struct peri_value *at)
{
    lua_State *L = push->L;
    uint32_t count = at->count;
    bool marked = count == 0; /* lest it looks like a list: an empty one, or one with integers */
    lua_createtable(L, 0, (int) count);
    at++;
    for (uint32_t i = 0; i < count; i++) {
        at = peri_value_push(push, at);
        marked = marked || lua_type(L, -1) != LUA_TSTRING;
        /* Lua cannot hold NaN, which a client may send, nor nil, which a refusing check leaves. */
        bool sound =
            !lua_isnil(L, -1) && !(lua_type(L, -1) == LUA_TNUMBER && isnan(lua_tonumber(L, -1)));
        at = push_item(push, at);
        if (sound)
            lua_rawset(L, -3);
        else
            lua_pop(L, 2);
    }
    if (marked)
        peri_json_mark_object(L, -1);
    return at;
}

static void push_default(struct peri_push *push, const struct peri_default *fallback)
{
    if (fallback->function != 0) {
        lua_rawgeti(push->L, push->lua_values, fallback->function);
        lua_call(push->L, 0, 1);
    } else if (fallback->values != NULL) {
        peri_value_push(push, fallback->values);
    } else {
        peri_node_push(push, fallback->node);
    }
}

const struct peri_value *peri_value_push(struct peri_push *push, const struct peri_value *at)
{
    lua_State *L = push->L;
    switch ((enum peri_value_kind) at->kind) {
    case PERI_VALUE_NONE:
    case PERI_VALUE_NIL:
        lua_pushnil(L);
        break;
    case PERI_VALUE_NULL:
        peri_json_push_null(L);
        break;
    case PERI_VALUE_FALSE:
    case PERI_VALUE_TRUE:
        lua_pushboolean(L, at->kind == PERI_VALUE_TRUE);
        break;
    case PERI_VALUE_INTEGER:
        lua_pushinteger(L, at->integer);
        break;
    case PERI_VALUE_NUMBER:
        lua_pushnumber(L, at->number);
        break;
    case PERI_VALUE_STRING:
        lua_pushlstring(L, at->string, at->count);
        break;
    case PERI_VALUE_ARRAY:
        luaL_checkstack(L, 8, NULL);
        return push_array(push, at);
    case PERI_VALUE_MAP:
        luaL_checkstack(L, 8, NULL);
        return push_map(push, at);
    case PERI_VALUE_MODEL:
        luaL_checkstack(L, 8, NULL);
        return push_model(push, at);
    case PERI_VALUE_RAW:
        peri_node_push(push, at->node);
        break;
    case PERI_VALUE_DEFAULT:
        push_default(push, at->type->fallback);
        break;
    case PERI_VALUE_FILE:
        push_file(push, at->field);
        break;
    case PERI_VALUE_CHECK:
        return push_checked(push, at);
    default:
        peri_temporal_push(L, peri_value_temporal(at));
        break;
    }
    return at + 1;
}

/* --------------------------------------------------- inputs and programs --- */

/* Separate parameters become a table; file parts go to the table of files. */
static void push_fields(struct peri_push *push, const struct peri_group *group,
                        const struct peri_value *at, int files)
{
    lua_State *L = push->L;
    lua_createtable(L, 0, (int) group->fields.count);
    int table = lua_gettop(L);
    for (uint32_t i = 0; i < group->fields.count; i++) {
        const struct peri_member *member = &group->fields.members[i];
        if (at->kind == PERI_VALUE_NONE || at->kind == PERI_VALUE_NIL) {
            at++;
            continue;
        }
        lua_rawgeti(L, push->lua_values, member->key);
        at = push_inside(push, at);
        lua_rawset(L, member->is_file ? files : table);
    }
}

enum peri_verdict peri_inputs_push(lua_State *L, int inputs_index, struct peri_result *result,
                                   peri_keep_fn *keep, int target)
{
    const struct peri_inputs *inputs = lua_touserdata(L, inputs_index);
    int top = lua_gettop(L);
    luaL_checkstack(L, 12, NULL);
    lua_getiuservalue(L, inputs_index, 1);
    struct peri_push push = {
        .L = L, .lua_values = lua_gettop(L), .result = result, .mode = PERI_MODE_REQUEST};
    int files = 0;
    if (inputs->uses & PERI_USES_FILES) {
        lua_newtable(L);
        files = lua_gettop(L);
        lua_pushvalue(L, files);
        keep(L, target, "files", 5);
    }
    /* After a body that is no JSON the result has no groups. */
    for (uint32_t i = 0; i < result->group_count; i++) {
        const struct peri_group *group = &inputs->groups[i];
        struct peri_group_result *done = &result->groups[i];
        const uint32_t errors = result->error_count;
        const struct peri_value *first = result->values + done->first;
        if (done->errors > 0)
            continue;
        if (group->type == NULL)
            push_fields(&push, group, first, files);
        else
            peri_value_push(&push, first);
        keep(L, target, group->as.data, group->as.len);
        done->errors = result->error_count - errors;
    }
    lua_settop(L, top);
    peri_result_close(result);
    return result->error_count > 0 ? PERI_INVALID : PERI_VALID;
}

bool peri_program_validate(lua_State *L, int program_index, struct peri_result *result,
                           const struct peri_json_node *node, enum peri_mode mode)
{
    const struct peri_program *program = peri_schema_program(L, program_index);
    struct peri_run run = {.result = result, .mode = mode, .budget = 10000 + 64 * node->skip};
    bool sound = peri_validate(&run, program->type, node, NULL);
    if (!sound && program->has_secret) {
        result->error_count = 0;
        result->errors.len = 0;
        peri_mark_secrets(program->type, node);
        run.budget = 10000 + 64 * node->skip;
        peri_validate(&run, program->type, node, NULL);
    }
    if (sound) {
        lua_getiuservalue(L, program_index, 1);
        struct peri_push push = {
            .L = L, .lua_values = lua_gettop(L), .result = result, .mode = mode};
        peri_value_push(&push, result->values);
        lua_remove(L, push.lua_values);
        sound = result->error_count == 0;
        if (!sound)
            lua_pop(L, 1);
    }
    peri_schema_count(1, !sound);
    peri_result_close(result);
    return sound;
}
