/* string.rep and table.concat of what is large. Lua's own fills the memory in one go, a byte at a
 * time where the string is short; here it is filled in pieces, between which the slice may end.
 * What remains is the copy that becomes the string, some 0.7 ms for each MiB.
 *
 * Whatever is an error is left to Lua's own, which says so. */
#include "callbacks.h"

#include "slice.h"

#include <lauxlib.h>
#include <limits.h>
#include <string.h>

#define PIECE ((size_t) 256 << 10) /* bytes that are copied in no time */
#define SMALL_COUNT 4096
#define SMALL_UNIT 256
#define MANY 100       /* elements; fewer are joined in one go */
#define LOOK_EVERY 256 /* elements */

static bool must_yield(lua_State *L)
{
    return peri_slice_is_over(L) && !peri_slice_is_spared() && peri_slice_must_yield(L);
}

/* --- string.rep --------------------------------------------------------------------------------
 */

/* A repetition under way: on the stack, below the memory that the buffer may keep there. */
struct rep {
    const char *text;
    const char *between;
    size_t text_len;
    size_t unit; /* text and what stands between */
    char *out;
    size_t done;
    size_t total;
    luaL_Buffer buffer;
};

/* The first unit is copied from its parts; from then on the memory is a multiple of units that can
 * be copied itself. */
static const char *next_piece(const struct rep *rep, size_t *len)
{
    if (rep->done < rep->text_len) {
        *len = rep->text_len - rep->done;
        return rep->text + rep->done;
    }
    if (rep->done < rep->unit) {
        *len = rep->unit - rep->done;
        return rep->between + (rep->done - rep->text_len);
    }
    *len = rep->done / rep->unit * rep->unit;
    return rep->out + rep->done - *len;
}

static int go_on_repeating(lua_State *L, int status, lua_KContext context)
{
    struct rep *rep = (struct rep *) context;
    (void) status;
    while (rep->done < rep->total) {
        size_t len = 0;
        if (must_yield(L))
            return peri_slice_yield(L, context, go_on_repeating);
        const char *piece = next_piece(rep, &len);
        if (len > rep->total - rep->done)
            len = rep->total - rep->done;
        if (len > PIECE)
            len = PIECE;
        memcpy(rep->out + rep->done, piece, len);
        rep->done += len;
    }
    luaL_pushresultsize(&rep->buffer, rep->total);
    return 1;
}

static int begin_repeating(lua_State *L, size_t text_len, size_t between_len, size_t count)
{
    lua_settop(L, 3); /* the strings stay here */
    struct rep *rep = lua_newuserdatauv(L, sizeof(*rep), 0);
    rep->text = lua_tostring(L, 1);
    rep->between = lua_tostring(L, 3);
    rep->text_len = text_len;
    rep->unit = text_len + between_len;
    rep->done = 0;
    rep->total = rep->unit * count - between_len;
    rep->out = luaL_buffinitsize(L, &rep->buffer, rep->total);
    return go_on_repeating(L, LUA_OK, (lua_KContext) rep);
}

static int string_rep(lua_State *L)
{
    size_t text_len = 0;
    size_t between_len = 0;
    luaL_checklstring(L, 1, &text_len);
    lua_Integer count = luaL_checkinteger(L, 2);
    if (lua_type(L, 3) != LUA_TNONE)
        luaL_optlstring(L, 3, "", &between_len);
    size_t unit = text_len + between_len;
    if (unit == 0) { /* Lua's own would count */
        lua_pushliteral(L, "");
        return 1;
    }
    if (count <= 0 || (count < SMALL_COUNT && unit < SMALL_UNIT) ||
        unit > (size_t) INT_MAX / (size_t) count) /* Lua's own limit */
        return peri_callbacks_original(L);
    return begin_repeating(L, text_len, between_len, (size_t) count);
}

/* --- table.concat ------------------------------------------------------------------------------
 */

/* The stack of the call; the buffer may keep its memory above. */
enum { LIST = 1, SEPARATOR, FIRST, LAST, CONCAT, ELEMENT };

struct concat {
    lua_Integer at;
    lua_Integer last;
    const char *piece; /* what is left to add: of the element, */
    size_t piece_len;
    const char *separator; /* and then of this */
    size_t separator_len;
    bool separates; /* the piece is the separator */
    luaL_Buffer buffer;
};

/* Fetches the next piece. Returns false when there is none, or the element is not for us. */
static bool fetch(lua_State *L, struct concat *concat)
{
    if (!concat->separates && concat->separator_len > 0 && concat->piece != NULL &&
        concat->at <= concat->last) {
        concat->separates = true;
        concat->piece = concat->separator;
        concat->piece_len = concat->separator_len;
        return true;
    }
    if (concat->at > concat->last)
        return false;
    lua_rawgeti(L, LIST, concat->at);
    concat->piece = lua_tolstring(L, -1, &concat->piece_len);
    lua_replace(L, ELEMENT);
    if (concat->piece == NULL)
        return false;
    concat->separates = false;
    concat->at++;
    return true;
}

static int go_on_joining(lua_State *L, int status, lua_KContext context)
{
    struct concat *concat = (struct concat *) context;
    (void) status;
    for (size_t added = 0, pieces = 0; concat->piece_len > 0 || fetch(L, concat); pieces++) {
        if (added >= PIECE || pieces == LOOK_EVERY) {
            added = pieces = 0;
            if (must_yield(L))
                return peri_slice_yield(L, context, go_on_joining);
        }
        size_t len = concat->piece_len < PIECE ? concat->piece_len : PIECE;
        luaL_addlstring(&concat->buffer, concat->piece, len);
        concat->piece += len;
        concat->piece_len -= len;
        added += len;
    }
    if (concat->at <= concat->last) { /* no text: Lua's own says so */
        lua_settop(L, LAST);
        return peri_callbacks_original(L);
    }
    luaL_pushresult(&concat->buffer);
    return 1;
}

/* An integer argument or its default. */
static lua_Integer integer_or(lua_State *L, int index, lua_Integer otherwise, bool *sound)
{
    int is_integer = 1;
    lua_Integer value =
        lua_isnoneornil(L, index) ? otherwise : lua_tointegerx(L, index, &is_integer);
    *sound = *sound && is_integer;
    return value;
}

static int begin_joining(lua_State *L, lua_Integer first, lua_Integer last)
{
    struct concat *concat = lua_newuserdatauv(L, sizeof(*concat), 0);
    concat->at = first;
    concat->last = last;
    concat->piece = NULL;
    concat->piece_len = 0;
    concat->separator_len = 0;
    concat->separator = lua_tolstring(L, SEPARATOR, &concat->separator_len);
    concat->separates = false;
    lua_pushnil(L); /* ELEMENT */
    luaL_buffinit(L, &concat->buffer);
    return go_on_joining(L, LUA_OK, (lua_KContext) concat);
}

/* A few are joined in one go, whatever they hold. Returns 0 when one of them is no text. */
static int join_few(lua_State *L, lua_Integer first, lua_Integer last)
{
    size_t separator_len = 0;
    const char *separator = lua_tolstring(L, SEPARATOR, &separator_len);
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (lua_Integer at = first; at <= last; at++) {
        if (at > first && separator_len > 0)
            luaL_addlstring(&buffer, separator, separator_len);
        int type = lua_rawgeti(L, LIST, at);
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            return 0;
        luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
    return 1;
}

static int table_concat(lua_State *L)
{
    if (lua_type(L, LIST) != LUA_TTABLE)
        return peri_callbacks_original(L);
    if (lua_getmetatable(L, LIST)) {
        lua_pop(L, 1);
        return peri_callbacks_original(L);
    }
    bool sound = lua_isnoneornil(L, SEPARATOR) || lua_isstring(L, SEPARATOR);
    lua_Integer first = integer_or(L, FIRST, 1, &sound);
    lua_Integer last = lua_isnoneornil(L, LAST) ? (lua_Integer) lua_rawlen(L, LIST)
                                                : integer_or(L, LAST, 0, &sound);
    lua_settop(L, LAST);
    if (!sound || last == LUA_MAXINTEGER)
        return peri_callbacks_original(L);
    if (last >= first && (lua_Unsigned) last - (lua_Unsigned) first >= MANY)
        return begin_joining(L, first, last);
    if (join_few(L, first, last) != 0)
        return 1;
    lua_settop(L, LAST);
    return peri_callbacks_original(L);
}

void peri_rep_open(lua_State *L)
{
    peri_callbacks_replace(L, "rep", string_rep);
}

void peri_concat_open(lua_State *L)
{
    peri_callbacks_replace(L, "concat", table_concat);
}
