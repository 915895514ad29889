#include "transfer.h"

#include "api/api.h"
#include "json_lua.h"
#include "schema_lua.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes: one that says whether there are references, the number of values, the values. A value is a
 * tag and what belongs to it. Tables and model metatables are numbered in the order in which they
 * are met. */
enum tag {
    TAG_NIL,
    TAG_FALSE,
    TAG_TRUE,
    TAG_INTEGER,
    TAG_FLOAT,
    TAG_STRING, /* length, bytes */
    TAG_NULL,   /* json.null */
    TAG_TEMPORAL,
    TAG_TABLE, /* kind, items, other members; the items; the others as key and value */
    TAG_SAME,  /* the number of a table that came before */
};

/* What a table's metatable says. */
enum kind {
    KIND_PLAIN,
    KIND_ARRAY,
    KIND_OBJECT,
    KIND_MODEL,      /* a new mark follows: name, set fields, members */
    KIND_SAME_MODEL, /* the number of a mark that came before follows */
    KIND_HEADERS,
    KIND_NAMED, /* + the index of its name below */
};

static const char *const named_kinds[] = {
    "perigee.Response",  "perigee.HttpError", "perigee.ValidationError",
    "perigee.Cancelled", "perigee.Error",
};
#define NAMED_KINDS (sizeof(named_kinds) / sizeof(*named_kinds))

/* --- writing -----------------------------------------------------------------------------------
 */

/* The way from a value to the root, kept on the C stack; read only when something cannot cross. */
struct step {
    const struct step *outer;
    int key; /* its index on the Lua stack; 0: the key is `item` */
    lua_Integer item;
    bool is_key; /* it is the key itself that is looked at */
};

struct writer {
    lua_State *L;
    struct peri_buf *out;
    int seen; /* index of a table, nil at first: tables and model metatables to their numbers */
    uint32_t tables; /* how many were met */
    uint32_t models;
    bool shared; /* some table was met twice */
    bool failed;
    unsigned depth;
    int root; /* number of the value that is being written */
    const char *what;
};

static void add_u32(struct peri_buf *out, uint32_t value)
{
    peri_buf_add(out, &value, sizeof(value));
}

static void add_path(lua_State *L, luaL_Buffer *path, const struct step *step)
{
    if (step == NULL)
        return;
    add_path(L, path, step->outer);
    if (step->is_key) {
        lua_pushliteral(L, "[a key]");
    } else if (step->key == 0) {
        lua_pushfstring(L, "[%I]", (LUAI_UACINT) step->item);
    } else if (lua_type(L, step->key) == LUA_TSTRING) {
        size_t len = 0;
        const char *name = lua_tolstring(L, step->key, &len);
        lua_pushfstring(L, peri_is_name(name, len) ? "%s%s" : "[\"%s%s\"]",
                        step->outer != NULL && peri_is_name(name, len) ? "." : "", name);
    } else {
        luaL_tolstring(L, step->key, NULL);
        lua_pushfstring(L, "[%s]", lua_tostring(L, -1));
        lua_remove(L, -2);
    }
    luaL_addvalue(path);
}

/* Pushes the message: "argument 1 cannot be given to another thread: items[3].callback is a
 * function". Takes what is wrong with the value. */
static void fail(struct writer *writer, const struct step *step, const char *why)
{
    lua_State *L = writer->L;
    luaL_checkstack(L, 8, NULL);
    writer->failed = true;
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    lua_pushfstring(L, "%s %d cannot be given to another thread: ", writer->what, writer->root);
    luaL_addvalue(&text);
    if (step == NULL)
        luaL_addstring(&text, "it");
    add_path(L, &text, step);
    luaL_addstring(&text, why);
    luaL_pushresult(&text);
}

static bool write_value(struct writer *writer, int index, const struct step *step);

static const char *why_not(lua_State *L, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TFUNCTION:
        return " is a function";
    case LUA_TTHREAD:
        return " is a coroutine";
    default:
        return " is an object of the host that belongs to its thread";
    }
}

/* Pushes nothing. The metatable is on top of the stack. Returns -1 when it is none of ours. */
static int kind_of_metatable(lua_State *L, int table)
{
    int metatable = lua_gettop(L);
    for (size_t i = 0; i < NAMED_KINDS; i++) {
        luaL_getmetatable(L, named_kinds[i]);
        bool same = lua_rawequal(L, metatable, -1);
        lua_pop(L, 1);
        if (same)
            return KIND_NAMED + (int) i;
    }
    if (peri_json_is_array(L, table))
        return KIND_ARRAY;
    if (peri_json_is_object(L, table))
        return KIND_OBJECT;
    if (peri_is_headers(L, table))
        return KIND_HEADERS;
    if (peri_push_set_names(L, table)) {
        lua_pop(L, 1);
        return KIND_MODEL;
    }
    return -1;
}

/* Writes the mark of a model's value, whose metatable is on top of the stack. */
static bool write_model(struct writer *writer, int table, const struct step *step)
{
    lua_State *L = writer->L;
    int metatable = lua_gettop(L);
    lua_pushvalue(L, metatable);
    if (lua_rawget(L, writer->seen) == LUA_TNUMBER) {
        peri_buf_add_byte(writer->out, KIND_SAME_MODEL);
        add_u32(writer->out, (uint32_t) lua_tointeger(L, -1));
        lua_pop(L, 1);
        return true;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, metatable);
    lua_pushinteger(L, ++writer->models);
    lua_rawset(L, writer->seen);
    peri_buf_add_byte(writer->out, KIND_MODEL);
    peri_push_model_mark(L, table); /* name, set fields, members */
    for (int i = 1; i <= 3; i++) {
        if (!write_value(writer, metatable + i, step))
            return false;
    }
    lua_settop(L, metatable);
    return true;
}

static bool write_kind(struct writer *writer, int table, const struct step *step)
{
    lua_State *L = writer->L;
    if (!lua_getmetatable(L, table)) {
        peri_buf_add_byte(writer->out, KIND_PLAIN);
        return true;
    }
    int kind = kind_of_metatable(L, table);
    bool written = kind >= 0;
    if (kind == KIND_MODEL)
        written = write_model(writer, table, step);
    else if (kind >= 0)
        peri_buf_add_byte(writer->out, (char) kind);
    else
        fail(writer, step, " is an object with a metatable of its own");
    if (written)
        lua_pop(L, 1);
    return written;
}

static bool write_members(struct writer *writer, int table, const struct step *step)
{
    lua_State *L = writer->L;
    uint32_t items = (uint32_t) lua_rawlen(L, table);
    uint32_t others = 0;
    add_u32(writer->out, items);
    size_t others_at = writer->out->len;
    add_u32(writer->out, others);

    for (uint32_t i = 1; i <= items; i++) {
        lua_rawgeti(L, table, i);
        if (!write_value(writer, lua_gettop(L), &(struct step){.outer = step, .item = i}))
            return false;
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    int key = lua_gettop(L);
    while (lua_next(L, table) != 0) {
        if (lua_isinteger(L, key) && lua_tointeger(L, key) >= 1 && lua_tointeger(L, key) <= items) {
            lua_pop(L, 1);
            continue;
        }
        if (!write_value(writer, key, &(struct step){.outer = step, .is_key = true}) ||
            !write_value(writer, key + 1, &(struct step){.outer = step, .key = key}))
            return false;
        lua_pop(L, 1);
        others++;
    }
    memcpy(writer->out->data + others_at, &others, sizeof(others));
    return true;
}

static bool write_table(struct writer *writer, int table, const struct step *step)
{
    lua_State *L = writer->L;
    luaL_checkstack(L, 8, "a value is nested too deeply");
    if (lua_isnil(L, writer->seen)) { /* what has no tables needs no memory for them */
        lua_newtable(L);
        lua_replace(L, writer->seen);
    }
    lua_pushvalue(L, table);
    if (lua_rawget(L, writer->seen) == LUA_TNUMBER) {
        peri_buf_add_byte(writer->out, TAG_SAME);
        add_u32(writer->out, (uint32_t) lua_tointeger(L, -1));
        lua_pop(L, 1);
        writer->shared = true;
        return true;
    }
    lua_pop(L, 1);
    if (++writer->depth > PERI_TRANSFER_DEPTH) {
        fail(writer, NULL, " is nested too deeply");
        return false;
    }
    lua_pushvalue(L, table);
    lua_pushinteger(L, ++writer->tables);
    lua_rawset(L, writer->seen);
    peri_buf_add_byte(writer->out, TAG_TABLE);
    if (!write_kind(writer, table, step) || !write_members(writer, table, step))
        return false;
    writer->depth--;
    return true;
}

static bool write_value(struct writer *writer, int index, const struct step *step)
{
    lua_State *L = writer->L;
    struct peri_buf *out = writer->out;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        peri_buf_add_byte(out, TAG_NIL);
        return true;
    case LUA_TBOOLEAN:
        peri_buf_add_byte(out, lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
        return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            lua_Integer integer = lua_tointeger(L, index);
            peri_buf_add_byte(out, TAG_INTEGER);
            peri_buf_add(out, &integer, sizeof(integer));
        } else {
            lua_Number number = lua_tonumber(L, index);
            peri_buf_add_byte(out, TAG_FLOAT);
            peri_buf_add(out, &number, sizeof(number));
        }
        return true;
    case LUA_TSTRING: {
        size_t len = 0;
        const char *bytes = lua_tolstring(L, index, &len);
        if (len > UINT32_MAX) {
            fail(writer, step, " is a string of more than 4 GiB");
            return false;
        }
        peri_buf_add_byte(out, TAG_STRING);
        add_u32(out, (uint32_t) len);
        peri_buf_add(out, bytes, len);
        return true;
    }
    case LUA_TTABLE:
        return write_table(writer, index, step);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) != NULL)
            break;
        peri_buf_add_byte(out, TAG_NULL);
        return true;
    case LUA_TUSERDATA: {
        const struct peri_temporal *temporal = peri_temporal_test(L, index);
        if (temporal == NULL)
            break;
        peri_buf_add_byte(out, TAG_TEMPORAL);
        peri_buf_add(out, temporal, sizeof(*temporal));
        return true;
    }
    default:
        break;
    }
    fail(writer, step, why_not(L, index));
    return false;
}

int peri_transfer_write(lua_State *L, int first, int count, const char *what, struct peri_buf *out)
{
    size_t before = out->len;
    int top = lua_gettop(L);
    first = lua_absindex(L, first);
    struct writer writer = {.L = L, .out = out, .what = what};
    peri_buf_add_byte(out, 0);
    add_u32(out, (uint32_t) count);
    luaL_checkstack(L, 4, NULL);
    lua_pushnil(L);
    writer.seen = lua_gettop(L);
    for (int i = 0; i < count; i++) {
        writer.root = i + 1;
        if (!write_value(&writer, first + i, NULL)) {
            out->len = before;
            lua_replace(L, top + 1);
            lua_settop(L, top + 1);
            return -1;
        }
    }
    out->data[before] = (char) writer.shared;
    lua_settop(L, top);
    return 0;
}

/* --- reading -----------------------------------------------------------------------------------
 */

struct reader {
    lua_State *L;
    const char *at;
    int made;   /* index of a list of the tables so far; 0: nothing refers to them */
    int models; /* index of a list of the metatables of models so far */
    lua_Integer tables;
    lua_Integer model_count;
};

static void take(struct reader *reader, void *to, size_t len)
{
    memcpy(to, reader->at, len);
    reader->at += len;
}

static uint32_t take_u32(struct reader *reader)
{
    uint32_t value = 0;
    take(reader, &value, sizeof(value));
    return value;
}

static void read_value(struct reader *reader);

/* Pushes the metatable of a model's value. */
static void read_model(struct reader *reader, enum kind kind)
{
    lua_State *L = reader->L;
    if (kind == KIND_SAME_MODEL) {
        lua_rawgeti(L, reader->models, take_u32(reader));
        return;
    }
    lua_Integer number = ++reader->model_count;
    for (int i = 0; i < 3; i++)
        read_value(reader);
    peri_push_marked_metatable(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, reader->models, number);
}

static void read_table(struct reader *reader)
{
    lua_State *L = reader->L;
    luaL_checkstack(L, 8, "a value is nested too deeply");
    lua_Integer number = ++reader->tables;
    int kind = (unsigned char) *reader->at++;
    bool model = kind == KIND_MODEL || kind == KIND_SAME_MODEL;
    if (model)
        read_model(reader, (enum kind) kind);
    uint32_t items = take_u32(reader);
    uint32_t others = take_u32(reader);
    lua_createtable(L, (int) items, (int) others);
    if (reader->made != 0) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, reader->made, number);
    }
    for (uint32_t i = 1; i <= items; i++) {
        read_value(reader);
        lua_rawseti(L, -2, i);
    }
    for (uint32_t i = 0; i < others; i++) {
        read_value(reader);
        read_value(reader);
        lua_rawset(L, -3);
    }
    if (model) {
        lua_insert(L, -2);
        lua_setmetatable(L, -2);
    } else if (kind == KIND_ARRAY) {
        peri_json_mark_array(L, -1);
    } else if (kind == KIND_OBJECT) {
        peri_json_mark_object(L, -1);
    } else if (kind == KIND_HEADERS) {
        peri_headers_mark(L);
    } else if (kind >= KIND_NAMED) {
        luaL_getmetatable(L, named_kinds[kind - KIND_NAMED]);
        lua_setmetatable(L, -2);
    }
}

static void read_value(struct reader *reader)
{
    lua_State *L = reader->L;
    switch ((enum tag) * reader->at++) {
    case TAG_NIL:
        lua_pushnil(L);
        return;
    case TAG_FALSE:
        lua_pushboolean(L, 0);
        return;
    case TAG_TRUE:
        lua_pushboolean(L, 1);
        return;
    case TAG_INTEGER: {
        lua_Integer integer = 0;
        take(reader, &integer, sizeof(integer));
        lua_pushinteger(L, integer);
        return;
    }
    case TAG_FLOAT: {
        lua_Number number = 0;
        take(reader, &number, sizeof(number));
        lua_pushnumber(L, number);
        return;
    }
    case TAG_STRING: {
        uint32_t len = take_u32(reader);
        lua_pushlstring(L, reader->at, len);
        reader->at += len;
        return;
    }
    case TAG_NULL:
        peri_json_push_null(L);
        return;
    case TAG_TEMPORAL: {
        struct peri_temporal temporal;
        take(reader, &temporal, sizeof(temporal));
        peri_temporal_push(L, temporal);
        return;
    }
    case TAG_TABLE:
        read_table(reader);
        return;
    case TAG_SAME:
        lua_rawgeti(L, reader->made, take_u32(reader));
        return;
    }
}

int peri_transfer_read(lua_State *L, const char *bytes, size_t len)
{
    (void) len;
    struct reader reader = {.L = L, .at = bytes};
    bool shared = *reader.at++ != 0;
    int count = (int) take_u32(&reader);
    luaL_checkstack(L, count + 4, "too many values");
    lua_newtable(L);
    reader.models = lua_gettop(L);
    if (shared) {
        lua_newtable(L);
        reader.made = lua_gettop(L);
    }
    for (int i = 0; i < count; i++)
        read_value(&reader);
    if (shared)
        lua_remove(L, reader.made);
    lua_remove(L, reader.models);
    return count;
}
