/* string.gsub that finds each match with string.find, and keeps what it has written so far in a
 * userdata of its own: a luaL_Buffer wants the top of the stack. */
#include "callbacks.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FIRST_ROOM 256
#define NOWHERE SIZE_MAX
#define ROOM 64 /* on the stack: for LUA_MAXCAPTURES, and the call */

/* The stack of the call; what is behind belongs to one match. */
enum { TEXT = 1, PATTERN, REPLACEMENT, LIMIT, STATE, OUT, TOP = OUT };

enum { ORIGINAL = 1, FIND, INDEX }; /* upvalues */

struct gsub {
    const char *text;
    size_t len;
    size_t at;     /* where the next match is looked for */
    size_t copied; /* so much of the text is in `out`, or replaced */
    size_t from;   /* the match */
    size_t to;
    size_t last; /* where the one before ended */
    char *out;   /* at OUT */
    size_t out_len;
    size_t room;
    lua_Integer count;
    lua_Integer limit;
    bool anchored;
    bool by_index;
    bool changed;
};

static void add(lua_State *L, struct gsub *gsub, const char *bytes, size_t len)
{
    if (gsub->room - gsub->out_len < len) {
        size_t room = (gsub->out_len + len) * 2;
        char *out = lua_newuserdatauv(L, room < FIRST_ROOM ? FIRST_ROOM : room, 0);
        if (gsub->out_len > 0)
            memcpy(out, gsub->out, gsub->out_len);
        lua_replace(L, OUT);
        gsub->out = out;
        gsub->room = room < FIRST_ROOM ? FIRST_ROOM : room;
    }
    if (len > 0)
        memcpy(gsub->out + gsub->out_len, bytes, len);
    gsub->out_len += len;
}

/* An error of string.find is that of whoever called gsub. */
static void complain(lua_State *L, int status)
{
    if (status == LUA_ERRRUN) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    lua_error(L);
}

/* Calls string.find. What is wrong with a pattern shows at once, as a rule: only the first call is
 * protected. */
static void find(lua_State *L, const struct gsub *gsub)
{
    lua_settop(L, TOP);
    lua_pushvalue(L, lua_upvalueindex(FIND));
    lua_pushvalue(L, TEXT);
    lua_pushvalue(L, PATTERN);
    lua_pushinteger(L, (lua_Integer) gsub->at + 1);
    if (gsub->at > 0) {
        lua_call(L, 3, LUA_MULTRET);
        return;
    }
    int status = lua_pcall(L, 3, LUA_MULTRET, 0);
    if (status != LUA_OK)
        complain(L, status);
}

/* Finds the next match, which leaves its bounds and its captures on the stack. An empty one right
 * behind the match before is none. */
static bool find_next(lua_State *L, struct gsub *gsub)
{
    for (;;) {
        if (gsub->count >= gsub->limit || (gsub->anchored && gsub->last != NOWHERE))
            return false;
        find(L, gsub);
        if (lua_isnil(L, TOP + 1))
            return false;
        gsub->from = (size_t) lua_tointeger(L, TOP + 1) - 1;
        gsub->to = (size_t) lua_tointeger(L, TOP + 2);
        if (gsub->to != gsub->last)
            break;
        if (gsub->at++ >= gsub->len)
            return false;
    }
    gsub->at = gsub->last = gsub->to;
    gsub->count++;
    return true;
}

/* Pushes the call that says what replaces the match; returns its arguments. */
static int push_call(lua_State *L, struct gsub *gsub)
{
    int captures = lua_gettop(L) - TOP - 2;
    if (captures == 0) {
        lua_pushlstring(L, gsub->text + gsub->from, gsub->to - gsub->from);
        captures = 1;
    }
    if (gsub->by_index) {
        lua_settop(L, TOP + 3);
        lua_pushvalue(L, lua_upvalueindex(INDEX));
        lua_replace(L, TOP + 1);
        lua_pushvalue(L, REPLACEMENT);
        lua_replace(L, TOP + 2);
        return 2;
    }
    lua_pushvalue(L, REPLACEMENT);
    lua_replace(L, TOP + 2);
    return captures;
}

static void replace(lua_State *L, struct gsub *gsub)
{
    size_t len = gsub->to - gsub->from;
    const char *value = gsub->text + gsub->from;
    if (lua_toboolean(L, -1)) {
        if (!lua_isstring(L, -1))
            luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
        value = lua_tolstring(L, -1, &len);
        gsub->changed = true;
    }
    add(L, gsub, gsub->text + gsub->copied, gsub->from - gsub->copied);
    add(L, gsub, value, len);
    gsub->copied = gsub->to;
}

static int finish(lua_State *L, struct gsub *gsub)
{
    lua_settop(L, TOP);
    if (gsub->changed) {
        add(L, gsub, gsub->text + gsub->copied, gsub->len - gsub->copied);
        lua_pushlstring(L, gsub->out, gsub->out_len);
    } else {
        lua_pushvalue(L, TEXT);
    }
    lua_pushinteger(L, gsub->count);
    return 2;
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
    struct gsub *gsub = (struct gsub *) context;
    if (status == LUA_YIELD)
        replace(L, gsub);
    while (find_next(L, gsub)) {
        lua_callk(L, push_call(L, gsub), 1, context, go_on);
        replace(L, gsub);
    }
    return finish(L, gsub);
}

/* Whether replacing calls a function. */
static bool calls_back(lua_State *L)
{
    if (lua_isfunction(L, REPLACEMENT))
        return !lua_iscfunction(L, REPLACEMENT);
    if (!lua_istable(L, REPLACEMENT) || luaL_getmetafield(L, REPLACEMENT, "__index") == LUA_TNIL)
        return false;
    lua_pop(L, 1);
    return true;
}

/* string.find takes a pattern without special characters literally, and a lone ')' is not among
 * them, though it is an error in a pattern: so it gets one that matches nothing. */
static void make_special(lua_State *L)
{
    const char *pattern = lua_tostring(L, PATTERN);
    if (strchr(pattern, ')') == NULL || strpbrk(pattern, "^$*+?.([%-") != NULL ||
        strlen(pattern) != lua_rawlen(L, PATTERN))
        return;
    lua_pushfstring(L, "%sx-", pattern);
    lua_replace(L, PATTERN);
}

static int string_gsub(lua_State *L)
{
    if (!calls_back(L))
        return lua_tocfunction(L, lua_upvalueindex(ORIGINAL))(L);
    struct gsub state = {.last = NOWHERE, .by_index = lua_istable(L, REPLACEMENT)};
    state.text = luaL_checklstring(L, TEXT, &state.len);
    state.anchored = *luaL_checkstring(L, PATTERN) == '^';
    state.limit = luaL_optinteger(L, LIMIT, (lua_Integer) state.len + 1);
    lua_settop(L, LIMIT);
    make_special(L);
    struct gsub *gsub = lua_newuserdatauv(L, sizeof(*gsub), 0);
    *gsub = state;
    lua_pushnil(L); /* what is written */
    luaL_checkstack(L, ROOM, "too many captures");
    return go_on(L, LUA_OK, (lua_KContext) gsub);
}

void peri_gsub_open(lua_State *L)
{
    static const char index[] = "local t, k = ... return t[k]";
    lua_getfield(L, -1, "gsub");
    lua_getfield(L, -2, "find");
    luaL_loadbuffer(L, index, sizeof(index) - 1, "=string.gsub");
    lua_pushcclosure(L, string_gsub, INDEX);
    lua_setfield(L, -2, "gsub");
}

void peri_callbacks_open(lua_State *L)
{
    lua_getglobal(L, LUA_TABLIBNAME);
    peri_sort_open(L);
    lua_getglobal(L, LUA_STRLIBNAME);
    peri_gsub_open(L);
    lua_pop(L, 2);
}
