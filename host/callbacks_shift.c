/* table.insert, table.remove and table.move of many elements. A length that `__len` or the caller
 * tells may be anything: Lua's own would not come back. */
#include "callbacks.h"

#include "slice.h"

#include <lauxlib.h>

#define SHORT 1000      /* elements that Lua's own shifts in no time */
#define LOOK_EVERY 1024 /* elements */

/* The stack of the call: VALUE is what is inserted, or was removed. */
enum { TABLE = 1, POSITION, VALUE };

enum { FIRST = 2, LAST, INTO, TARGET }; /* of table.move */

enum kind { INSERT, REMOVE, MOVE };

/* Elements of a table go to other places, perhaps in another table. */
struct shift {
    enum kind kind;
    int target;
    lua_Integer from;
    lua_Integer to;
    lua_Integer step;
    lua_Integer left;
};

static int end_shift(lua_State *L, const struct shift *shift)
{
    switch (shift->kind) {
    case INSERT:
        lua_pushvalue(L, VALUE);
        lua_seti(L, TABLE, shift->to);
        return 0;
    case REMOVE:
        lua_pushnil(L);
        lua_seti(L, TABLE, shift->to);
        lua_pushvalue(L, VALUE);
        return 1;
    case MOVE:
        break;
    }
    lua_pushvalue(L, shift->target);
    return 1;
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
    struct shift *shift = (struct shift *) context;
    (void) status;
    for (; shift->left > 0; shift->left--) {
        if (shift->left % LOOK_EVERY == 0 && peri_slice_is_over(L) && peri_slice_must_yield(L))
            return peri_slice_yield(L, context, go_on);
        lua_geti(L, TABLE, shift->from);
        lua_seti(L, shift->target, shift->to);
        shift->from += shift->step;
        shift->to += shift->step;
    }
    return end_shift(L, shift);
}

static int begin(lua_State *L, struct shift values)
{
    struct shift *shift = lua_newuserdatauv(L, sizeof(*shift), 0);
    *shift = values;
    return go_on(L, LUA_OK, (lua_KContext) shift);
}

/* Also what is no table: that is an error, as a rule. */
static bool is_short(lua_State *L)
{
    if (!lua_istable(L, TABLE))
        return true;
    if (!lua_getmetatable(L, TABLE))
        return lua_rawlen(L, TABLE) < SHORT;
    lua_pop(L, 1);
    return false;
}

static int table_insert(lua_State *L)
{
    if (lua_gettop(L) != VALUE || is_short(L))
        return peri_callbacks_original(L);
    lua_Unsigned end = (lua_Unsigned) luaL_len(L, TABLE) + 1;
    lua_Integer position = luaL_checkinteger(L, POSITION);
    luaL_argcheck(L, (lua_Unsigned) position - 1 < end, POSITION, "position out of bounds");
    return begin(L, (struct shift){.kind = INSERT,
                                   .target = TABLE,
                                   .from = (lua_Integer) (end - 1),
                                   .to = (lua_Integer) end,
                                   .step = -1,
                                   .left = (lua_Integer) (end - (lua_Unsigned) position)});
}

static int table_remove(lua_State *L)
{
    if (lua_gettop(L) < POSITION || is_short(L))
        return peri_callbacks_original(L);
    lua_Integer size = luaL_len(L, TABLE);
    lua_Integer position = luaL_optinteger(L, POSITION, size);
    if (position != size && (lua_Unsigned) position - 1 > (lua_Unsigned) size)
        return peri_callbacks_original(L); /* whose complaint differs between versions */
    lua_settop(L, POSITION);
    lua_geti(L, TABLE, position);
    return begin(L, (struct shift){.kind = REMOVE,
                                   .target = TABLE,
                                   .from = position + 1,
                                   .to = position,
                                   .step = 1,
                                   .left = position < size ? size - position : 0});
}

static int table_move(lua_State *L)
{
    int target = lua_isnoneornil(L, TARGET) ? TABLE : TARGET;
    int integers[3];
    lua_Integer first = lua_tointegerx(L, FIRST, &integers[0]);
    lua_Integer last = lua_tointegerx(L, LAST, &integers[1]);
    lua_Integer into = lua_tointegerx(L, INTO, &integers[2]);
    bool sound = lua_istable(L, TABLE) && lua_istable(L, target) && integers[0] && integers[1] &&
                 integers[2] && first <= last && (first > 0 || last < LUA_MAXINTEGER + first);
    if (!sound || last - first < SHORT || into > LUA_MAXINTEGER - (last - first))
        return peri_callbacks_original(L);
    lua_settop(L, TARGET);
    struct shift shift = {.kind = MOVE,
                          .target = target,
                          .from = first,
                          .to = into,
                          .step = 1,
                          .left = last - first + 1};
    bool same = target == TABLE || lua_compare(L, TABLE, target, LUA_OPEQ);
    if (same && into > first && into <= last) { /* the last ones first */
        shift.from = last;
        shift.to = into + (last - first);
        shift.step = -1;
    }
    return begin(L, shift);
}

void peri_shift_open(lua_State *L)
{
    peri_callbacks_replace(L, "insert", table_insert);
    peri_callbacks_replace(L, "remove", table_remove);
    peri_callbacks_replace(L, "move", table_move);
}
