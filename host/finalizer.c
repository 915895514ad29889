#include "finalizer.h"

#include "log.h"
#include "slice.h"
#include "vm.h"

#include <lauxlib.h>

/* Runs upvalue 1 for the object at index 1. */
static int finalize(lua_State *L)
{
    struct peri_tasks *tasks = &peri_vm_of(L)->tasks;
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 2);

    uint8_t outer = tasks->finalizing;
    int results = 0;
    tasks->finalizing = PERI_FINALIZER_RUNS;
    tasks->finalizer_ticks = peri_watchdog.ticks;
    tasks->unyieldable++;
    void *watched = peri_slice_enter(co);
    int status = lua_resume(co, L, 1, &results);
    bool failed = status != LUA_OK && status != LUA_YIELD;
    if (failed)
        lua_xmove(co, L, 1);
    lua_resetthread(co);
    peri_slice_leave(co, watched);
    tasks->unyieldable--;
    tasks->finalizing = outer;
    if (failed)
        peri_log_error("a __gc function failed: %s", luaL_tolstring(L, -1, NULL));
    return 0;
}

static int set_metatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) == LUA_TFUNCTION && !lua_iscfunction(L, -1)) {
            lua_pushcclosure(L, finalize, 1);
            lua_pushliteral(L, "__gc");
            lua_insert(L, -2);
            lua_rawset(L, 2);
        }
        lua_settop(L, 2);
    }
    lua_setmetatable(L, 1);
    return 1;
}

void peri_finalizer_open(lua_State *L)
{
    lua_pushcfunction(L, set_metatable);
    lua_setglobal(L, "setmetatable");
}
