/* perigee.host.time: waiting and clocks. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>
#include <math.h>

struct sleep_op {
    struct peri_op op;
    struct peri_timer timer;
    struct peri_timers *timers;
};

static void on_awake(struct peri_timer *timer)
{
    struct sleep_op *sleep = peri_container_of(timer, struct sleep_op, timer);
    peri_op_done(&sleep->op);
}

static void sleep_cancel(struct peri_op *op)
{
    struct sleep_op *sleep = peri_container_of(op, struct sleep_op, op);
    peri_timer_stop(sleep->timers, &sleep->timer);
    peri_op_done(op);
}

static int time_sleep(lua_State *L)
{
    lua_Number ms = luaL_checknumber(L, 1);
    luaL_argcheck(L, ms >= 0 && ms < 1e12, 1, "milliseconds, 0 or more, expected");
    struct sleep_op *sleep = peri_op_new(L, sizeof(*sleep));
    struct peri_vm *vm = peri_vm_of(L);
    sleep->op.cancel = sleep_cancel;
    sleep->timer.fire = on_awake;
    sleep->timers = vm->timers;
    uv_update_time(vm->tasks.loop); /* the handler may have computed since the loop looked */
    peri_timer_start(vm->timers, &sleep->timer, uv_now(vm->tasks.loop) + (uint64_t) ceil(ms));
    return peri_op_await(L, &sleep->op);
}

static const luaL_Reg time_functions[] = {
    {"sleep", time_sleep},
    {NULL, NULL},
};

int peri_open_time(lua_State *L)
{
    luaL_newlib(L, time_functions);
    return 1;
}
