/* string.gsub. What it has written so far is in a buffer of its own, as a luaL_Buffer wants the top
 * of the stack. Its state is a userdata where the replacement calls Lua, and from the end of the
 * first slice on; until then it is on the stack of C. */
#include "callbacks.h"

#include "slice.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FIRST_ROOM 512 /* for what is written before a buffer is made */

/* The stack of the call; what is behind belongs to one match. */
enum { TEXT = 1, PATTERN, REPLACEMENT, LIMIT, STATE, OUT, TOP = OUT };

enum { INDEX = 1 }; /* upvalue: reads a table that has an __index */

enum way {
    WITH_STRING, /* as it is */
    WITH_CAPTURES,
    WITH_FIELD,
    WITH_INDEX,
    WITH_FUNCTION,
};

struct gsub {
    const char *text_end;
    const char *value; /* of a replacement that is a string */
    size_t value_len;
    const char *copied; /* the text before is written, or replaced */
    const char *from;   /* the match */
    const char *to;
    char *out;
    size_t out_len;
    size_t room;
    lua_Integer count;
    lua_Integer limit;
    enum way way;
    bool changed;
};

/* --- writing -----------------------------------------------------------------------------------
 */

/* Moves what is written into a new buffer, which has room for the rest of the text at least. */
static void grow(lua_State *L, struct gsub *gsub, size_t more)
{
    size_t needed = gsub->out_len + more;
    size_t rest = (size_t) (gsub->text_end - gsub->copied);
    size_t room = needed + (rest > needed ? rest : needed);
    char *out = lua_newuserdatauv(L, room, 0);
    memcpy(out, gsub->out, gsub->out_len);
    lua_replace(L, OUT);
    gsub->out = out;
    gsub->room = room;
}

static void add(lua_State *L, struct gsub *gsub, const char *bytes, size_t len)
{
    if (gsub->room - gsub->out_len < len)
        grow(L, gsub, len);
    memcpy(gsub->out + gsub->out_len, bytes, len);
    gsub->out_len += len;
}

static void add_text(lua_State *L, struct gsub *gsub, const char *end)
{
    add(L, gsub, gsub->copied, (size_t) (end - gsub->copied));
}

/* In place of the match. */
static void add_value(lua_State *L, struct gsub *gsub, const char *bytes, size_t len)
{
    add_text(L, gsub, gsub->from);
    gsub->copied = gsub->to;
    gsub->changed = true;
    add(L, gsub, bytes, len);
}

static void add_capture(lua_State *L, struct gsub *gsub, const struct peri_search *search,
                        int index)
{
    size_t len = 0;
    const char *capture = peri_find_capture(L, search, (unsigned) index, &len);
    char position[24];
    if (capture == NULL) {
        len = (size_t) snprintf(position, sizeof(position), "%zu", len);
        capture = position;
    }
    add(L, gsub, capture, len);
}

/* A replacement with "%1" and the like. */
static void add_with_captures(lua_State *L, struct gsub *gsub, const struct peri_search *search)
{
    add_value(L, gsub, "", 0);
    const char *at = gsub->value;
    const char *end = at + gsub->value_len;
    const char *escape;
    while ((escape = memchr(at, '%', (size_t) (end - at))) != NULL) {
        add(L, gsub, at, (size_t) (escape - at));
        char which = escape[1];
        if (which == '%') {
            add(L, gsub, escape, 1);
        } else if (which == '0') {
            add(L, gsub, search->begin, (size_t) (search->end - search->begin));
        } else if (which >= '1' && which <= '9') {
            add_capture(L, gsub, search, which - '1');
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
        at = escape + 2;
    }
    add(L, gsub, at, (size_t) (end - at));
}

/* With the value that a table or a function gave, on top of the stack. */
static void add_result(lua_State *L, struct gsub *gsub)
{
    if (lua_toboolean(L, -1)) {
        size_t len = 0;
        const char *value = lua_tolstring(L, -1, &len);
        if (value == NULL)
            luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
        add_value(L, gsub, value, len);
    }
    lua_settop(L, TOP);
}

static int finish(lua_State *L, struct gsub *gsub)
{
    if (gsub->changed) {
        add_text(L, gsub, gsub->text_end);
        lua_pushlstring(L, gsub->out, gsub->out_len);
    } else {
        lua_pushvalue(L, TEXT);
    }
    lua_pushinteger(L, gsub->count);
    return 2;
}

/* --- searching and replacing -------------------------------------------------------------------
 */

/* Pushes the call that says what replaces the match; returns its arguments. */
static int push_call(lua_State *L, const struct gsub *gsub, const struct peri_search *search)
{
    if (gsub->way == WITH_FUNCTION) {
        lua_pushvalue(L, REPLACEMENT);
        return peri_find_push_captures(L, search);
    }
    lua_pushvalue(L, lua_upvalueindex(INDEX));
    lua_pushvalue(L, REPLACEMENT);
    peri_find_push_capture(L, search, 0);
    return 2;
}

static int after_call(lua_State *L, int status, lua_KContext context);

static void replace(lua_State *L, struct gsub *gsub, const struct peri_search *search)
{
    switch (gsub->way) {
    case WITH_STRING:
        add_value(L, gsub, gsub->value, gsub->value_len);
        return;
    case WITH_CAPTURES:
        add_with_captures(L, gsub, search);
        return;
    case WITH_FIELD:
        peri_find_push_capture(L, search, 0);
        lua_gettable(L, REPLACEMENT);
        break;
    default:
        lua_callk(L, push_call(L, gsub, search), 1, (lua_KContext) gsub, after_call);
        break;
    }
    add_result(L, gsub);
}

/* Makes the state outlive this call of C. */
static struct gsub *keep(lua_State *L, struct gsub *gsub)
{
    if (!lua_isnil(L, STATE))
        return gsub;
    size_t rest = (size_t) (gsub->text_end - gsub->copied);
    size_t room = gsub->out_len + (rest < FIRST_ROOM ? rest : FIRST_ROOM);
    struct gsub *kept = lua_newuserdatauv(L, sizeof(*kept) + room, 0);
    lua_copy(L, -1, STATE);
    lua_pop(L, 1);
    *kept = *gsub;
    if (lua_isnil(L, OUT)) { /* it is in the room on the stack of C */
        kept->out = memcpy(kept + 1, gsub->out, gsub->out_len);
        kept->room = room;
    }
    return kept;
}

static int after_pause(lua_State *L, int status, lua_KContext context);

static int go_on(lua_State *L, struct gsub *gsub, struct peri_search *search)
{
    while (gsub->count < gsub->limit) {
        enum peri_found found = peri_find_next(L, search);
        if (found == PERI_FOUND_LATER)
            return peri_slice_yield(L, (lua_KContext) keep(L, gsub), after_pause);
        if (found == PERI_FOUND_NOTHING)
            break;
        gsub->count++;
        gsub->from = search->begin;
        gsub->to = search->end;
        replace(L, gsub, search);
        if (search->anchored)
            break;
        peri_search_go_behind(search);
    }
    return finish(L, gsub);
}

static int after_pause(lua_State *L, int status, lua_KContext context)
{
    struct peri_search search;
    (void) status;
    peri_find_take_up(L, &search);
    return go_on(L, (struct gsub *) context, &search);
}

static bool prepare(lua_State *L, struct peri_search *search)
{
    size_t text_len = 0;
    size_t pattern_len = 0;
    const char *text = lua_tolstring(L, TEXT, &text_len);
    const char *pattern = lua_tolstring(L, PATTERN, &pattern_len);
    bool anchored = *pattern == '^';
    peri_search_init(search, text, text_len, pattern + anchored, pattern_len - anchored);
    search->anchored = anchored;
    return anchored;
}

/* The callback has waited, and what was on the stack of C is gone. */
static int after_call(lua_State *L, int status, lua_KContext context)
{
    struct gsub *gsub = (struct gsub *) context;
    struct peri_search search;
    (void) status;
    add_result(L, gsub);
    if (prepare(L, &search))
        return finish(L, gsub);
    search.begin = search.last = gsub->to;
    return go_on(L, gsub, &search);
}

/* --- the call ----------------------------------------------------------------------------------
 */

static enum way way_of(lua_State *L, struct gsub *gsub)
{
    switch (lua_type(L, REPLACEMENT)) {
    case LUA_TFUNCTION:
        return WITH_FUNCTION;
    case LUA_TTABLE:
        if (luaL_getmetafield(L, REPLACEMENT, "__index") == LUA_TNIL)
            return WITH_FIELD;
        lua_pop(L, 1);
        return WITH_INDEX;
    case LUA_TSTRING:
    case LUA_TNUMBER:
        gsub->value = lua_tolstring(L, REPLACEMENT, &gsub->value_len);
        return memchr(gsub->value, '%', gsub->value_len) != NULL ? WITH_CAPTURES : WITH_STRING;
    default:
        luaL_typeerror(L, REPLACEMENT, "string/function/table");
        return WITH_STRING;
    }
}

static int string_gsub(lua_State *L)
{
    char first[FIRST_ROOM];
    struct peri_search search;
    struct gsub gsub = {.out = first, .room = sizeof(first)};
    size_t len = 0;
    gsub.copied = luaL_checklstring(L, TEXT, &len);
    gsub.text_end = gsub.copied + len;
    luaL_checkstring(L, PATTERN);
    gsub.limit = luaL_optinteger(L, LIMIT, (lua_Integer) len + 1);
    gsub.way = way_of(L, &gsub);
    lua_settop(L, LIMIT); /* more arguments mean nothing */
    lua_settop(L, TOP);
    prepare(L, &search);
    if (gsub.way < WITH_INDEX)
        return go_on(L, &gsub, &search);
    return go_on(L, keep(L, &gsub), &search);
}

void peri_gsub_open(lua_State *L)
{
    static const char index[] = "local t, k = ... return t[k]";
    luaL_loadbuffer(L, index, sizeof(index) - 1, "=string.gsub");
    lua_pushcclosure(L, string_gsub, INDEX);
    lua_setfield(L, -2, "gsub");
}

void peri_callbacks_replace(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

int peri_callbacks_original(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

void peri_callbacks_open(lua_State *L)
{
    lua_getglobal(L, LUA_TABLIBNAME);
    peri_sort_open(L);
    peri_shift_open(L);
    peri_concat_open(L);
    lua_getglobal(L, LUA_STRLIBNAME);
    peri_find_open(L);
    peri_gsub_open(L);
    peri_rep_open(L);
    lua_pop(L, 2);
}
