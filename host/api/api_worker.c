/* perigee.host.worker: threaded functions, as threaded.lua and dependency.lua use them. */
#include "api.h"

#include "../hop.h"
#include "../transfer.h"
#include "../vm.h"
#include "../worker.h"

#include <lauxlib.h>

/* trace(err): the other side's name and traceback of an error that was just raised from there, or
 * nil. */
static int worker_trace(lua_State *L)
{
    luaL_checkany(L, 1);
    if (!peri_hop_push_trace(L, 1))
        lua_pushnil(L);
    return 1;
}

/* assigned(req): what Lua has assigned to the request, by name. */
static int worker_assigned(lua_State *L)
{
    peri_request_push_assigned(L, 1);
    return 1;
}

/* stats(): what the workers of this VM's generation do; zeros when there are none. */
static int worker_stats(lua_State *L)
{
    struct peri_workers_stats stats = peri_workers_stats(peri_vm_of(L)->workers);
    lua_createtable(L, 0, 8);
    lua_pushinteger(L, stats.threads);
    lua_setfield(L, -2, "threads");
    lua_pushinteger(L, stats.busy);
    lua_setfield(L, -2, "busy");
    lua_pushinteger(L, stats.depth);
    lua_setfield(L, -2, "depth");
    lua_pushinteger(L, (lua_Integer) stats.trips);
    lua_setfield(L, -2, "jobs");
    lua_pushinteger(L, (lua_Integer) stats.refused);
    lua_setfield(L, -2, "refused");
    lua_pushnumber(L, (lua_Number) stats.wait_ns / 1e6);
    lua_setfield(L, -2, "wait_ms");
    lua_pushnumber(L, (lua_Number) stats.slowest_ns / 1e6);
    lua_setfield(L, -2, "slowest_ms");
    lua_pushboolean(L, peri_vm_of(L)->worker != NULL);
    lua_setfield(L, -2, "is_worker");
    return 1;
}

/* available(): whether threaded functions of this VM run on workers. */
static int worker_available(lua_State *L)
{
    lua_pushboolean(L, peri_vm_of(L)->workers != NULL);
    return 1;
}

/* promise(result): on a worker, whether whoever waits for this result of what it does will take and
 * clean it up. Raises when it cannot cross. */
static int worker_promise(lua_State *L)
{
    struct peri_worker *worker = peri_vm_of(L)->worker;
    luaL_checkany(L, 1);
    struct peri_trip *trip = worker != NULL ? peri_worker_trip(worker) : NULL;
    if (trip != NULL) { /* a rehearsal: the result is written once the task has ended */
        trip->out.len = 0;
        if (peri_transfer_write(L, 1, 1, "result", &trip->out) != 0)
            return lua_error(L);
        trip->out.len = 0;
    }
    lua_pushboolean(L, worker == NULL || peri_worker_promise(worker));
    return 1;
}

static const luaL_Reg worker_functions[] = {
    {"assigned", worker_assigned}, {"available", worker_available},   {"promise", worker_promise},
    {"send", peri_hop_send},       {"stats", worker_stats},           {"trace", worker_trace},
    {"wrap", peri_hop_wrap},       {"wrap_loop", peri_hop_wrap_loop}, {NULL, NULL},
};

int peri_open_worker(lua_State *L)
{
    luaL_newlib(L, worker_functions);
    return 1;
}
