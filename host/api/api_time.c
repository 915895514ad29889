/* perigee.host.time: waiting and clocks. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>
#include <math.h>

static int time_sleep(lua_State *L)
{
    lua_Number ms = luaL_checknumber(L, 1);
    luaL_argcheck(L, ms >= 0 && ms < 1e12, 1, "milliseconds, 0 or more, expected");
    peri_task_check(L); /* outside a task there may be no timers */
    struct peri_vm *vm = peri_vm_of(L);
    /* From the clock itself: the loop's is older, and cut to milliseconds, and would wake early. A
     * frozen one is exact. */
    double now = vm->timers->frozen ? (double) uv_now(vm->tasks.loop) : (double) uv_hrtime() / 1e6;
    double due = ms == 0 ? 0 : ceil(now + ms);
    return peri_task_sleep(L, (uint64_t) due);
}

/* The clocks that a test may freeze; a VM that loads has none, and nothing freezes. */
static const struct peri_timers *timers_of(lua_State *L)
{
    static const struct peri_timers running;
    const struct peri_timers *timers = peri_vm_of(L)->timers;
    return timers != NULL ? timers : &running;
}

/* now(): seconds since 1970 */
static int time_now(lua_State *L)
{
    lua_pushnumber(L, peri_timers_wall(timers_of(L)));
    return 1;
}

/* monotonic(): milliseconds */
static int time_monotonic(lua_State *L)
{
    lua_pushnumber(L, peri_timers_precise(timers_of(L)));
    return 1;
}

static const luaL_Reg time_functions[] = {
    {"monotonic", time_monotonic},
    {"now", time_now},
    {"sleep", time_sleep},
    {NULL, NULL},
};

int peri_open_time(lua_State *L)
{
    luaL_newlib(L, time_functions);
    return 1;
}
