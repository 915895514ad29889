/* perigee.host.task.queue(): tasks that wait in a line, woken one by one; what channels, locks and
 * events are made of (lua/perigee/sync.lua). A waiter may bring a value, and is woken with one.
 *
 * Both values stand in the frame of the waiting C function, on its own coroutine: queue_wake()
 * reads and replaces them there. A waiter that was woken is not cancelled any more, so that what it
 * was given does not get lost. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>

static const char QUEUE_TYPE[] = "perigee.Queue";

enum { AT_QUEUE = 1, AT_VALUE };

struct queue {
    struct peri_list waiters;
    lua_Integer count;
};

struct queue_op {
    struct peri_op op;
    struct peri_list link;
    struct queue *queue;
    lua_State *L; /* kept alive by the op, see task.c */
};

static int wait_finish(lua_State *L, struct peri_op *op)
{
    (void) op;
    lua_pushvalue(L, AT_VALUE);
    return 1;
}

static void leave(struct queue_op *waiter)
{
    peri_list_remove(&waiter->link);
    waiter->queue->count--;
    peri_op_done(&waiter->op);
}

static void wait_cancel(struct peri_op *op)
{
    leave(peri_container_of(op, struct queue_op, op));
}

/* queue:wait(value): until somebody wakes it. Returns what that one gave. */
static int queue_wait(lua_State *L)
{
    struct queue *queue = luaL_checkudata(L, AT_QUEUE, QUEUE_TYPE);
    lua_settop(L, AT_VALUE);
    struct queue_op *waiter = peri_op_new(L, sizeof(*waiter));
    waiter->op.finish = wait_finish;
    waiter->op.cancel = wait_cancel;
    waiter->queue = queue;
    waiter->L = L;
    peri_list_append(&queue->waiters, &waiter->link);
    queue->count++;
    return peri_op_await(L, &waiter->op);
}

/* queue:wake(value): wakes who has waited longest. Returns whether there was somebody, and the
 * value that he brought. */
static int queue_wake(lua_State *L)
{
    struct queue *queue = luaL_checkudata(L, AT_QUEUE, QUEUE_TYPE);
    lua_settop(L, AT_VALUE);
    struct peri_list *link;
    while ((link = peri_list_first(&queue->waiters)) != NULL) {
        struct queue_op *waiter = peri_container_of(link, struct queue_op, link);
        lua_State *from = waiter->L;
        leave(waiter);
        if (lua_status(from) != LUA_YIELD) /* its coroutine was closed while it waited */
            continue;
        lua_pushboolean(L, 1);
        lua_pushvalue(from, AT_VALUE);
        lua_xmove(from, L, 1);
        lua_pushvalue(L, AT_VALUE);
        lua_xmove(L, from, 1);
        lua_replace(from, AT_VALUE);
        return 2;
    }
    lua_pushboolean(L, 0);
    return 1;
}

static int queue_count(lua_State *L)
{
    struct queue *queue = luaL_checkudata(L, AT_QUEUE, QUEUE_TYPE);
    lua_pushinteger(L, queue->count);
    return 1;
}

/* Only waiters whose coroutine is garbage, too, can be left. */
static int queue_gc(lua_State *L)
{
    struct queue *queue = lua_touserdata(L, AT_QUEUE);
    struct peri_list *link;
    while ((link = peri_list_first(&queue->waiters)) != NULL)
        leave(peri_container_of(link, struct queue_op, link));
    return 0;
}

static int queue_new(lua_State *L)
{
    struct queue *queue = lua_newuserdatauv(L, sizeof(*queue), 0);
    peri_list_init(&queue->waiters);
    queue->count = 0;
    luaL_setmetatable(L, QUEUE_TYPE);
    return 1;
}

static const luaL_Reg queue_methods[] = {
    {"wait", queue_wait},
    {"wake", queue_wake},
    {NULL, NULL},
};

void peri_queue_open(lua_State *L)
{
    luaL_newmetatable(L, QUEUE_TYPE);
    luaL_newlib(L, queue_methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, queue_count);
    lua_setfield(L, -2, "__len");
    lua_pushcfunction(L, queue_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, queue_new);
    lua_setfield(L, -2, "queue");
}
