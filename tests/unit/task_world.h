/* For tests of tasks: a VM on a loop of its own, chunks of Lua that run as tasks in it, what they
 * may call, and what they have said so far. */
#ifndef TASK_WORLD_H
#define TASK_WORLD_H

#include "task.h"

#include "vm.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GATES 16

#define STUCK                                                                                      \
    "cannot wait here: a C function that cannot be left is running (such as tostring, load "       \
    "or require with a callback); wait before or after it"

/* An op that the test finishes by hand, or the chunk itself. */
struct gate {
    struct peri_op op;
    int value;
};

static struct {
    uv_loop_t loop;
    struct peri_timers timers;
    struct peri_vm vm;
    struct peri_buf trace; /* what the chunks logged */
    struct gate *gates[GATES];
    int gate_count;
    int gate_cancels;
} world;

/* One chunk that runs as a task. */
struct run {
    const char *chunk;
    struct peri_task *task;
    bool ended;
    bool failed;
};

/* --- what chunks can call ----------------------------------------------------------------------
 */

static inline int lua_log(lua_State *L)
{
    if (world.trace.len > 0)
        peri_buf_add_byte(&world.trace, ' ');
    for (int i = 1; i <= lua_gettop(L); i++) {
        if (i > 1)
            peri_buf_add_byte(&world.trace, ',');
        peri_buf_add_str(&world.trace, luaL_tolstring(L, i, NULL));
        lua_pop(L, 1);
    }
    return 0;
}

static inline int gate_finish(lua_State *L, struct peri_op *op)
{
    struct gate *gate = peri_container_of(op, struct gate, op);
    if (gate->value < 0)
        return luaL_error(L, "gate broke");
    lua_pushinteger(L, gate->value);
    lua_pushliteral(L, "passed");
    return 2;
}

static inline void gate_cancel(struct peri_op *op)
{
    (void) op; /* cannot be hurried: the test opens it later */
    world.gate_cancels++;
}

/* gate(): waits until the test opens it. Returns its number and "passed". */
static inline int lua_gate(lua_State *L)
{
    struct gate *gate = peri_op_new(L, sizeof(*gate));
    gate->value = world.gate_count;
    gate->op.finish = gate_finish;
    gate->op.cancel = gate_cancel;
    world.gates[world.gate_count++] = gate;
    return peri_op_await(L, &gate->op);
}

/* instant(n): an op that is done before it is awaited; a negative number raises. */
static inline int lua_instant(lua_State *L)
{
    int value = (int) luaL_checkinteger(L, 1);
    struct gate *gate = peri_op_new(L, sizeof(*gate));
    gate->value = value;
    gate->op.finish = gate_finish;
    peri_op_done(&gate->op);
    return peri_op_await(L, &gate->op);
}

/* unawaited(): makes an op and fails before anybody learns of it. */
static inline int lua_unawaited(lua_State *L)
{
    peri_op_new(L, sizeof(struct gate));
    return peri_push_error(L, UV_EMFILE);
}

static inline int lua_cancel_me(lua_State *L)
{
    peri_task_cancel(peri_task_current(L), "of its own will");
    return 0;
}

/* --- running chunks ----------------------------------------------------------------------------
 */

static inline int on_chunk_end(lua_State *L, int status, lua_KContext context)
{
    (void) context;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushcfunction(L, lua_log);
        lua_pushliteral(L, "error");
        lua_pushvalue(L, -3);
        lua_call(L, 2, 0);
    }
    return 0;
}

/* As the exchange runs a handler: in a protected call of its own. */
static inline int protected_body(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    run->task = peri_task_current(L);
    if (luaL_loadbuffer(L, run->chunk, strlen(run->chunk), "=chunk") != LUA_OK)
        return lua_error(L);
    int status = lua_pcallk(L, 0, 0, 0, 0, on_chunk_end);
    return on_chunk_end(L, status, 0);
}

static inline int on_bare_end(lua_State *L, int status, lua_KContext context)
{
    (void) L;
    (void) status;
    (void) context;
    return 0;
}

/* An error leaves this one, as it may leave the exchange's body when memory is short. */
static inline int bare_body(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    run->task = peri_task_current(L);
    if (luaL_loadbuffer(L, run->chunk, strlen(run->chunk), "=chunk") != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, 0, 0, on_bare_end);
    return on_bare_end(L, LUA_OK, 0);
}

static inline void on_ended(struct peri_task *task, void *owner, bool failed)
{
    struct run *run = owner;
    assert_false(run->ended);
    assert_ptr_equal(task, run->task);
    if (failed) {
        if (world.trace.len > 0)
            peri_buf_add_byte(&world.trace, ' ');
        peri_buf_addf(&world.trace, "failed,%s", lua_tostring(task->L, -1));
    }
    run->ended = true;
    run->failed = failed;
    run->task = NULL;
}

static inline void start_with(struct run *run, lua_CFunction body, const char *chunk)
{
    *run = (struct run){.chunk = chunk};
    struct peri_task *task = peri_task_start(&world.vm.tasks, body, run, on_ended);
    assert_true((task == NULL) == run->ended);
    assert_true(task == NULL || task == run->task);
}

static inline void start(struct run *run, const char *chunk)
{
    start_with(run, protected_body, chunk);
}

/* Runs the loop until there is nothing left to do. */
static inline void settle(void)
{
    assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
}

static inline void open_gate(int number)
{
    peri_op_done(&world.gates[number]->op);
}

static inline void logged(const char *expected)
{
    peri_buf_add_byte(&world.trace, '\0');
    assert_string_equal(world.trace.data, expected);
    world.trace.len = 0;
}

/* Runs one chunk to its end and compares what it logged. */
static inline void does(const char *chunk, const char *expected)
{
    struct run run;
    start(&run, chunk);
    settle();
    logged(expected);
    assert_true(run.ended);
}

static inline void collect(void)
{
    lua_gc(world.vm.L, LUA_GCCOLLECT);
    lua_gc(world.vm.L, LUA_GCCOLLECT);
}

/* Runs outside of tasks, as the loading of an app does. */
static const char *outside(const char *chunk)
{
    lua_State *L = world.vm.L;
    lua_settop(L, 0);
    if (luaL_dostring(L, chunk) != LUA_OK)
        return lua_tostring(L, -1);
    return "no error";
}

static inline int set_up(void **state)
{
    (void) state;
    uv_loop_init(&world.loop);
    peri_timers_open(&world.timers, &world.loop);
    world.gate_count = 0;
    world.gate_cancels = 0;
    if (peri_vm_open(&world.vm, &world.loop, &world.timers) != 0)
        return -1;
    lua_State *L = world.vm.L;
    lua_register(L, "log", lua_log);
    lua_register(L, "gate", lua_gate);
    lua_register(L, "instant", lua_instant);
    lua_register(L, "unawaited", lua_unawaited);
    lua_register(L, "cancel_me", lua_cancel_me);
    return strcmp(outside("sleep = require('perigee.host').time.sleep\n"
                          "function closing(f) return setmetatable({}, {__close = f}) end"),
                  "no error");
}

/* How many ops the registry keeps alive: none, once nobody waits. */
static inline int anchored_ops(lua_State *L)
{
    int count = 0;
    for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1))
        count += lua_islightuserdata(L, -2) && lua_type(L, -1) == LUA_TUSERDATA;
    return count;
}

/* No task, no timer, no anchor and, in the end, no handle is left. */
static inline int tear_down(void **state)
{
    (void) state;
    settle();
    assert_int_equal(world.vm.tasks.alive, 0);
    assert_int_equal(world.vm.tasks.unyieldable, 0);
    assert_null(world.vm.tasks.current);
    assert_true(peri_list_empty(&world.vm.tasks.parked));
    assert_int_equal(world.timers.count, 0);
    assert_int_equal(anchored_ops(world.vm.L), 0);
    peri_vm_close(&world.vm);
    peri_timers_close(&world.timers);
    settle();
    peri_buf_deinit(&world.trace);
    return uv_loop_close(&world.loop);
}

#endif
