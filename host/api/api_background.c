/* perigee.host.background: waiting between the runs of a schedule, for as long as it is wanted. */
#include "api.h"

#include "background.h"
#include "vm.h"

#include <lauxlib.h>
#include <math.h>

struct rest_op {
    struct peri_op op;
    struct peri_list link; /* among the sleepers */
    struct peri_timer timer;
    struct peri_vm *vm;
};

static void wake(struct rest_op *rest)
{
    peri_list_remove(&rest->link);
    peri_timer_stop(rest->vm->timers, &rest->timer);
    peri_op_done(&rest->op);
}

static void on_rested(struct peri_timer *timer)
{
    wake(peri_container_of(timer, struct rest_op, timer));
}

static void rest_cancel(struct peri_op *op)
{
    wake(peri_container_of(op, struct rest_op, op));
}

static int rest_finish(lua_State *L, struct peri_op *op)
{
    struct rest_op *rest = peri_container_of(op, struct rest_op, op);
    lua_pushboolean(L, rest->vm->background.open);
    return 1;
}

void peri_background_wake(struct peri_background *background)
{
    struct peri_list *link;
    while ((link = peri_list_first(&background->sleepers)) != NULL)
        wake(peri_container_of(link, struct rest_op, link));
}

/* rest(ms): waits; false when the app is about to leave */
static int background_rest(lua_State *L)
{
    lua_Number ms = luaL_checknumber(L, 1);
    struct peri_vm *vm = peri_vm_of(L);
    if (!vm->background.open) {
        lua_pushboolean(L, 0);
        return 1;
    }
    struct rest_op *rest = peri_op_new(L, sizeof(*rest));
    rest->op.cancel = rest_cancel;
    rest->op.finish = rest_finish;
    rest->timer.fire = on_rested;
    rest->vm = vm;
    peri_list_init(&rest->link);
    peri_list_append(&vm->background.sleepers, &rest->link);
    peri_timer_start(vm->timers, &rest->timer,
                     (uint64_t) ceil((double) uv_hrtime() / 1e6 + (ms > 0 ? ms : 0)));
    return peri_op_await(L, &rest->op);
}

static const luaL_Reg background_functions[] = {
    {"rest", background_rest},
    {NULL, NULL},
};

int peri_open_background(lua_State *L)
{
    luaL_newlib(L, background_functions);
    return 1;
}
