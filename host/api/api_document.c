/* perigee.host.document: writes the tables of ordered.lua as JSON, with their keys in the order
 * that they ask for. An OpenAPI document has a hundred thousand of them; those that stand in many
 * places are written once and copied. */
#include "api.h"

#include "json_lua.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 200
#define TYPE "perigee.document"

/* The arguments of encode(). */
enum { VALUE = 1, RANKS, ORDERS, WRITER };

/* A member of the object that is being written. Its key and value are on the stack. */
struct member {
    const char *key;
    size_t len;
    lua_Integer rank;
    int value;
};

/* Where the text of a table stands that was written. */
struct known {
    const void *table;
    size_t at, len;
};

/* A userdata: what it holds is freed when Lua raises, too. */
struct writer {
    struct peri_buf out;
    struct peri_buf members; /* struct member, of all objects that are open */
    struct known *known; /* by table, open addressing: operations share what they have in common */
    size_t known_count;
    size_t known_cap; /* a power of two */
};

static int writer_gc(lua_State *L)
{
    struct writer *writer = luaL_checkudata(L, 1, TYPE);
    peri_buf_deinit(&writer->out);
    peri_buf_deinit(&writer->members);
    free(writer->known);
    writer->known = NULL;
    return 0;
}

static struct writer *push_writer(lua_State *L)
{
    struct writer *writer = lua_newuserdatauv(L, sizeof(*writer), 0);
    *writer = (struct writer){0};
    if (luaL_newmetatable(L, TYPE)) {
        lua_pushcfunction(L, writer_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return writer;
}

static int compare_members(const void *left, const void *right)
{
    const struct member *a = left;
    const struct member *b = right;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    int order = memcmp(a->key, b->key, a->len < b->len ? a->len : b->len);
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

/* Mostly a handful: faster here than qsort(). */
static void sort_members(struct member *members, size_t count)
{
    if (count > 40) {
        qsort(members, count, sizeof(*members), compare_members);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct member member = members[i];
        size_t j = i;
        for (; j > 0 && compare_members(&members[j - 1], &member) > 0; j--)
            members[j] = members[j - 1];
        members[j] = member;
    }
}

/* The place of a table among those that were written, or the empty one where it belongs. */
static struct known *find_known(const struct writer *writer, const void *table)
{
    uint64_t hash = (uint64_t) (uintptr_t) table * UINT64_C(0x9E3779B97F4A7C15);
    for (size_t at = hash >> 32;; at++) {
        struct known *known = &writer->known[at & (writer->known_cap - 1)];
        if (known->table == table || known->table == NULL)
            return known;
    }
}

/* Without memory for it the document is written all the same. */
static void grow_known(struct writer *writer)
{
    struct writer grown = {.known_cap = writer->known_cap == 0 ? 256 : writer->known_cap * 2};
    grown.known = calloc(grown.known_cap, sizeof(*grown.known));
    if (grown.known == NULL)
        return;
    for (size_t i = 0; i < writer->known_cap; i++) {
        if (writer->known[i].table != NULL)
            *find_known(&grown, writer->known[i].table) = writer->known[i];
    }
    free(writer->known);
    writer->known = grown.known;
    writer->known_cap = grown.known_cap;
}

static void note_known(struct writer *writer, const void *table, size_t at)
{
    if (writer->known_count * 2 >= writer->known_cap)
        grow_known(writer);
    if (writer->known_count * 2 >= writer->known_cap)
        return;
    *find_known(writer, table) = (struct known){table, at, writer->out.len - at};
    writer->known_count++;
}

/* Writes the text of a table that was written before once more; false when it was not. */
static bool write_known(struct writer *writer, const void *table)
{
    const struct known *known = writer->known_cap > 0 ? find_known(writer, table) : NULL;
    if (known == NULL || known->table == NULL)
        return false;
    peri_buf_reserve(&writer->out, known->len);
    peri_buf_add(&writer->out, writer->out.data + known->at, known->len);
    return true;
}

/* Pushes the table of ranks by key of the shape at `table`, or nil. */
static bool push_ranks(lua_State *L, int table)
{
    lua_pushnil(L);
    if (!lua_getmetatable(L, table))
        return false;
    lua_pushvalue(L, RANKS);
    lua_rawget(L, -2);
    lua_copy(L, -1, -3);
    lua_pop(L, 2);
    return lua_istable(L, -1);
}

/* Pushes the list of the keys of the map at `table`, or nil. */
static bool push_order(lua_State *L, int table)
{
    lua_pushvalue(L, table);
    return lua_rawget(L, ORDERS) == LUA_TTABLE;
}

static void write_value(lua_State *L, struct writer *writer, int index, int depth);

static void write_scalar(lua_State *L, struct writer *writer, int index)
{
    if (peri_json_encode(L, index, &writer->out) != 0)
        lua_error(L);
}

/* Notes the member whose key and value are on top of the stack. */
static void note_member(lua_State *L, struct writer *writer, int ranks)
{
    struct member member = {.value = lua_gettop(L), .rank = LLONG_MAX};
    if (lua_istable(L, ranks)) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, ranks) == LUA_TNUMBER)
            member.rank = lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    lua_pushvalue(L, -2); /* for lua_next() */
    if (lua_type(L, -1) != LUA_TSTRING) {
        luaL_tolstring(L, -1, NULL);
        lua_replace(L, member.value - 1);
    }
    member.key = lua_tolstring(L, member.value - 1, &member.len);
    peri_buf_add(&writer->members, &member, sizeof(member));
}

static void write_object(lua_State *L, struct writer *writer, int table, int ranks, int depth)
{
    size_t first = writer->members.len;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        luaL_checkstack(L, 10, "the document is too large");
        note_member(L, writer, ranks);
    }
    size_t count = (writer->members.len - first) / sizeof(struct member);
    sort_members((struct member *) (writer->members.data + first), count);
    peri_buf_add_byte(&writer->out, '{');
    for (size_t i = 0; i < count; i++) {
        struct member member; /* copied: the buffer moves */
        memcpy(&member, writer->members.data + first + i * sizeof(member), sizeof(member));
        if (i > 0)
            peri_buf_add_byte(&writer->out, ',');
        write_scalar(L, writer, member.value - 1);
        peri_buf_add_byte(&writer->out, ':');
        write_value(L, writer, member.value, depth);
    }
    peri_buf_add_byte(&writer->out, '}');
    writer->members.len = first;
}

/* A map's keys in their order; some may have been removed. */
static void write_map(lua_State *L, struct writer *writer, int table, int order, int depth)
{
    lua_Integer count = (lua_Integer) lua_rawlen(L, order);
    bool first = true;
    peri_buf_add_byte(&writer->out, '{');
    for (lua_Integer i = 1; i <= count; i++) {
        int key = lua_gettop(L) + 1;
        lua_rawgeti(L, order, i);
        lua_pushvalue(L, key);
        if (lua_rawget(L, table) != LUA_TNIL) {
            if (!first)
                peri_buf_add_byte(&writer->out, ',');
            first = false;
            if (lua_type(L, key) != LUA_TSTRING) {
                luaL_tolstring(L, key, NULL);
                lua_replace(L, key);
            }
            write_scalar(L, writer, key);
            peri_buf_add_byte(&writer->out, ':');
            write_value(L, writer, key + 1, depth);
        }
        lua_settop(L, key - 1);
    }
    peri_buf_add_byte(&writer->out, '}');
}

static void write_list(lua_State *L, struct writer *writer, int table, int depth)
{
    lua_Integer count = (lua_Integer) lua_rawlen(L, table);
    peri_buf_add_byte(&writer->out, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            peri_buf_add_byte(&writer->out, ',');
        lua_rawgeti(L, table, i);
        write_value(L, writer, lua_gettop(L), depth);
        lua_pop(L, 1);
    }
    peri_buf_add_byte(&writer->out, ']');
}

static void write_table(lua_State *L, struct writer *writer, int index, int depth)
{
    int top = lua_gettop(L);
    if (push_order(L, index)) {
        write_map(L, writer, index, top + 1, depth + 1);
        return;
    }
    lua_settop(L, top);
    bool ordered = push_ranks(L, index);
    lua_pushnil(L);
    bool empty = !lua_next(L, index);
    lua_settop(L, top + 1);
    if (empty && !ordered)
        write_scalar(L, writer, index); /* [] or {}, as it is marked */
    else if (ordered || lua_rawlen(L, index) == 0)
        write_object(L, writer, index, top + 1, depth + 1);
    else
        write_list(L, writer, index, depth + 1);
}

static void write_value(lua_State *L, struct writer *writer, int index, int depth)
{
    if (!lua_istable(L, index)) {
        write_scalar(L, writer, index);
        return;
    }
    const void *table = lua_topointer(L, index);
    if (write_known(writer, table))
        return;
    if (depth == MAX_DEPTH)
        luaL_error(L, "the document is nested too deeply, or contains itself");
    luaL_checkstack(L, 10, "the document is too large");
    int top = lua_gettop(L);
    size_t at = writer->out.len;
    write_table(L, writer, index, depth);
    lua_settop(L, top);
    note_known(writer, table, at);
}

/* encode(value, ranks, orders): the JSON text of a value. `ranks` is the key under which the
 * metatable of a shape has its ranks by key; keys without one come last, sorted. `orders` has the
 * keys of each map. */
static int document_encode(lua_State *L)
{
    luaL_checkany(L, VALUE);
    luaL_checktype(L, ORDERS, LUA_TTABLE);
    lua_settop(L, ORDERS);
    struct writer *writer = push_writer(L);
    write_value(L, writer, VALUE, 0);
    lua_pushlstring(L, writer->out.data, writer->out.len);
    return 1;
}

static const luaL_Reg document_functions[] = {
    {"encode", document_encode},
    {NULL, NULL},
};

int peri_open_document(lua_State *L)
{
    luaL_newlib(L, document_functions);
    return 1;
}
