/* perigee.host.metrics: what /metrics, /healthz and /readyz answer. */
#include "api.h"

#include "generation.h"
#include "metrics.h"

#include <lauxlib.h>

static const char CYCLE_TYPE[] = "perigee.host.cycle";

/* A value that nobody holds is collected in each cycle, and leaves another one behind. */
static int cycle_gc(lua_State *L)
{
    struct peri_loop *loop = peri_vm_of(L)->life.loop;
    if (loop == NULL)
        return 0;
    unsigned long long count = atomic_load(&loop->gauges.gc_cycles);
    atomic_store(&loop->gauges.gc_cycles, count + 1);
    lua_newuserdatauv(L, 0, 0);
    luaL_setmetatable(L, CYCLE_TYPE);
    return 0;
}

/* count_cycles(): counts the collections of this VM from now on. */
static int metrics_count_cycles(lua_State *L)
{
    if (luaL_newmetatable(L, CYCLE_TYPE)) {
        lua_pushcfunction(L, cycle_gc);
        lua_setfield(L, -2, "__gc");
        lua_newuserdatauv(L, 0, 0);
        luaL_setmetatable(L, CYCLE_TYPE);
    }
    return 0;
}

/* text(): everything, in Prometheus' format. */
static int metrics_text(lua_State *L)
{
    struct peri_vm *vm = peri_vm_of(L);
    struct peri_loop *loop = vm->life.loop;
    struct peri_buf out = {0};
    if (loop != NULL)
        peri_metrics_publish(loop, 0);
    peri_metrics_write(loop != NULL ? loop->server : NULL, vm->workers, &out);
    lua_pushlstring(L, out.data, out.len);
    peri_buf_deinit(&out);
    return 1;
}

/* is_ready(): whether new requests are welcome: the app has started, and nobody stops it. */
static int metrics_is_ready(lua_State *L)
{
    const struct peri_loop *loop = peri_vm_of(L)->life.loop;
    lua_pushboolean(L, loop != NULL && !loop->stopping && !atomic_load(&loop->server->draining));
    return 1;
}

static const luaL_Reg metrics_functions[] = {
    {"count_cycles", metrics_count_cycles},
    {"is_ready", metrics_is_ready},
    {"text", metrics_text},
    {NULL, NULL},
};

int peri_open_metrics(lua_State *L)
{
    luaL_newlib(L, metrics_functions);
    return 1;
}
