/* Tasks, ops and the VM they run in: waiting, waking, cancelling, coroutines of the app, and that
 * nothing is left behind. Chunks of Lua run as tasks and write down what they do. */
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

static int lua_log(lua_State *L)
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

static int gate_finish(lua_State *L, struct peri_op *op)
{
    struct gate *gate = peri_container_of(op, struct gate, op);
    if (gate->value < 0)
        return luaL_error(L, "gate broke");
    lua_pushinteger(L, gate->value);
    lua_pushliteral(L, "passed");
    return 2;
}

static void gate_cancel(struct peri_op *op)
{
    (void) op; /* cannot be hurried: the test opens it later */
    world.gate_cancels++;
}

/* gate(): waits until the test opens it. Returns its number and "passed". */
static int lua_gate(lua_State *L)
{
    struct gate *gate = peri_op_new(L, sizeof(*gate));
    gate->value = world.gate_count;
    gate->op.finish = gate_finish;
    gate->op.cancel = gate_cancel;
    world.gates[world.gate_count++] = gate;
    return peri_op_await(L, &gate->op);
}

/* instant(n): an op that is done before it is awaited; a negative number raises. */
static int lua_instant(lua_State *L)
{
    int value = (int) luaL_checkinteger(L, 1);
    struct gate *gate = peri_op_new(L, sizeof(*gate));
    gate->value = value;
    gate->op.finish = gate_finish;
    peri_op_done(&gate->op);
    return peri_op_await(L, &gate->op);
}

/* unawaited(): makes an op and fails before anybody learns of it. */
static int lua_unawaited(lua_State *L)
{
    peri_op_new(L, sizeof(struct gate));
    return peri_push_error(L, UV_EMFILE);
}

static int lua_cancel_me(lua_State *L)
{
    peri_task_cancel(peri_task_current(L), "of its own will");
    return 0;
}

/* --- running chunks ----------------------------------------------------------------------------
 */

static int on_chunk_end(lua_State *L, int status, lua_KContext context)
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
static int protected_body(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    run->task = peri_task_current(L);
    if (luaL_loadbuffer(L, run->chunk, strlen(run->chunk), "=chunk") != LUA_OK)
        return lua_error(L);
    int status = lua_pcallk(L, 0, 0, 0, 0, on_chunk_end);
    return on_chunk_end(L, status, 0);
}

static int on_bare_end(lua_State *L, int status, lua_KContext context)
{
    (void) L;
    (void) status;
    (void) context;
    return 0;
}

/* An error leaves this one, as it may leave the exchange's body when memory is short. */
static int bare_body(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    run->task = peri_task_current(L);
    if (luaL_loadbuffer(L, run->chunk, strlen(run->chunk), "=chunk") != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, 0, 0, on_bare_end);
    return on_bare_end(L, LUA_OK, 0);
}

static void on_ended(struct peri_task *task, void *owner, bool failed)
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

static void start_with(struct run *run, lua_CFunction body, const char *chunk)
{
    *run = (struct run){.chunk = chunk};
    struct peri_task *task = peri_task_start(&world.vm.tasks, body, run, on_ended);
    assert_true((task == NULL) == run->ended);
    assert_true(task == NULL || task == run->task);
}

static void start(struct run *run, const char *chunk)
{
    start_with(run, protected_body, chunk);
}

/* Runs the loop until there is nothing left to do. */
static void settle(void)
{
    assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
}

static void open_gate(int number)
{
    peri_op_done(&world.gates[number]->op);
}

static void logged(const char *expected)
{
    peri_buf_add_byte(&world.trace, '\0');
    assert_string_equal(world.trace.data, expected);
    world.trace.len = 0;
}

/* Runs one chunk to its end and compares what it logged. */
static void does(const char *chunk, const char *expected)
{
    struct run run;
    start(&run, chunk);
    settle();
    logged(expected);
    assert_true(run.ended);
}

static void collect(void)
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

static int set_up(void **state)
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
static int anchored_ops(lua_State *L)
{
    int count = 0;
    for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1))
        count += lua_islightuserdata(L, -2) && lua_type(L, -1) == LUA_TUSERDATA;
    return count;
}

/* No task, no timer, no anchor and, in the end, no handle is left. */
static int tear_down(void **state)
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

/* --- waiting -----------------------------------------------------------------------------------
 */

static void a_task_runs_at_once_until_its_first_wait(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log('a') sleep(0) log('b')");
    assert_false(run.ended);
    logged("a");
    settle();
    assert_true(run.ended);
    assert_false(run.failed);
    logged("b");
}

static void a_task_that_never_waits_has_ended_when_it_was_started(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log('a')");
    assert_true(run.ended);
    logged("a");
}

static void sleepers_wake_in_the_order_of_their_times(void **state)
{
    (void) state;
    struct run runs[3];
    start(&runs[0], "sleep(9) log(9)");
    start(&runs[1], "sleep(1) log(1)");
    start(&runs[2], "sleep(3) log(3)");
    settle();
    logged("1 3 9");
}

static void sleep_wants_a_time(void **state)
{
    (void) state;
    does("for _, ms in ipairs({-1, 1e12, 0/0, 'x', {}}) do log((pcall(sleep, ms))) end "
         "log(pcall(sleep))",
         "false false false false false false,bad argument #1 to 'sleep' (number expected, got no "
         "value)");
}

static void an_op_that_is_done_at_once_goes_on_at_once(void **state)
{
    (void) state;
    uint64_t before = world.vm.tasks.resumes;
    struct run run;
    start(&run, "log(instant(7)) log(instant(8))");
    assert_true(run.ended);
    assert_int_equal(world.vm.tasks.resumes, before + 1);
    logged("7,passed 8,passed");
}

static void the_result_of_an_op_is_made_inside_the_task(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log(gate()) log(pcall(gate)) error('end', 0)");
    open_gate(0);
    settle();
    world.gates[1]->value = -1;
    open_gate(1);
    settle();
    assert_true(run.ended);
    logged("0,passed false,gate broke error,end");
}

static void a_callback_only_wakes(void **state)
{
    (void) state;
    struct run run;
    start(&run, "gate() log('went on')");
    open_gate(0);
    assert_int_equal(world.trace.len, 0);
    assert_ptr_equal(peri_list_first(&world.vm.tasks.ready), &run.task->link);
    settle();
    logged("went on");
}

static void woken_tasks_go_on_in_the_order_they_were_woken(void **state)
{
    (void) state;
    struct run runs[3];
    for (int i = 0; i < 3; i++)
        start(&runs[i], "log(gate())");
    open_gate(2);
    open_gate(0);
    open_gate(1);
    settle();
    logged("2,passed 0,passed 1,passed");
}

static void a_bare_yield_lets_the_others_run(void **state)
{
    (void) state;
    struct run runs[2];
    start(&runs[0], "log(coroutine.yield(1, 2)) log('a') coroutine.yield() log('b')");
    start(&runs[1], "coroutine.yield() log('c') coroutine.yield() log('d')");
    settle();
    logged("a c b d");
}

static void an_error_of_the_body_ends_the_task_as_failed(void **state)
{
    (void) state;
    struct run run;
    start_with(&run, bare_body, "log('a') error('first', 0)");
    assert_true(run.ended && run.failed);
    start_with(&run, bare_body, "sleep(0) error('second', 0)");
    settle();
    assert_true(run.ended && run.failed);
    logged("a failed,first failed,second");
}

/* --- cancelling --------------------------------------------------------------------------------
 */

static const char sleeper[] =
    "local ok, err = pcall(sleep, 86400000) log(ok, err.code, err.reason, err)";

static void cancelling_a_parked_task_takes_its_timer_back(void **state)
{
    (void) state;
    struct run run;
    start(&run, sleeper);
    assert_int_equal(world.timers.count, 1);
    peri_task_cancel(run.task, "too late");
    assert_int_equal(world.timers.count, 0);
    assert_int_equal(world.trace.len, 0);
    settle();
    logged("false,ECANCELED,too late,cancelled: too late");
}

static void the_first_reason_counts(void **state)
{
    (void) state;
    struct run run;
    start(&run, sleeper);
    peri_task_cancel(run.task, "first");
    peri_task_cancel(run.task, "second");
    settle();
    logged("false,ECANCELED,first,cancelled: first");
}

/* Or what it was given would be lost. */
static void what_had_happened_before_the_cancellation_arrives(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log(gate()) log(pcall(gate))");
    open_gate(0);
    peri_task_cancel(run.task, "in between");
    assert_int_equal(world.gate_cancels, 0);
    settle();
    logged("0,passed false,cancelled: in between");
}

static void a_running_task_meets_its_cancellation_at_the_next_wait(void **state)
{
    (void) state;
    struct run run;
    start(&run, "cancel_me() log('still here') log(pcall(gate)) log(pcall(instant, 1))");
    assert_true(run.ended);
    assert_int_equal(world.gate_count, 0);
    logged("still here false,cancelled: of its own will false,cancelled: of its own will");
}

static void a_swallowed_cancellation_is_met_again(void **state)
{
    (void) state;
    struct run run;
    start(&run, "for i = 1, 3 do log(i, pcall(sleep, 86400000)) end sleep(0) log('never')");
    peri_task_cancel(run.task, "stop");
    settle();
    assert_true(run.ended);
    logged("1,false,cancelled: stop 2,false,cancelled: stop 3,false,cancelled: stop "
           "error,cancelled: stop");
}

static void a_cancelled_task_stays_parked_until_its_op_lets_go(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log(pcall(gate))");
    peri_task_cancel(run.task, "hurry");
    assert_int_equal(world.gate_cancels, 1);
    settle();
    assert_false(run.ended);
    open_gate(0);
    settle();
    assert_true(run.ended);
    logged("false,cancelled: hurry");
}

static void the_next_task_of_a_coroutine_is_not_cancelled(void **state)
{
    (void) state;
    struct run run;
    start(&run, sleeper);
    lua_State *L = run.task->L;
    peri_task_cancel(run.task, "x");
    settle();
    logged("false,ECANCELED,x,cancelled: x");
    start(&run, "sleep(0) log('fresh')");
    assert_ptr_equal(run.task->L, L);
    settle();
    logged("fresh");
}

static void only_the_cancelled_error_is_taken_for_it(void **state)
{
    (void) state;
    lua_State *L = world.vm.L;
    assert_string_equal(outside("return setmetatable({code = 'ECANCELED'}, {}), {}, 'cancelled'"),
                        "no error");
    for (int i = 1; i <= 3; i++)
        assert_false(peri_is_cancelled(L, i));
    assert_int_equal(lua_gettop(L), 3);
    struct run run;
    start_with(&run, bare_body, "sleep(86400000)");
    peri_task_cancel(run.task, "y");
    settle();
    logged("failed,(null)"); /* a table: the host looks at it with peri_is_cancelled() */
}

/* --- <close> variables -------------------------------------------------------------------------
 */

static void close_variables_run_and_may_wait(void **state)
{
    (void) state;
    does("local a <close> = closing(function(_, err) sleep(0) log('closed', err) end)\n"
         "sleep(0) error('x', 0)",
         "closed,x error,x");
    does("do local a <close> = closing(function(_, err) sleep(0) log('closed', err) end) end\n"
         "log('after')",
         "closed,nil after");
}

static void close_variables_may_wait_when_a_wait_is_cancelled(void **state)
{
    (void) state;
    struct run run;
    start(&run,
          "local a <close> = closing(function(_, err) log('closed', err, pcall(sleep, 0)) end)\n"
          "sleep(86400000)");
    peri_task_cancel(run.task, "stop");
    settle();
    logged("closed,cancelled: stop,true error,cancelled: stop");
}

static void close_variables_may_wait_when_a_cancelled_task_leaves_their_block(void **state)
{
    (void) state;
    does("do local a <close> = closing(function() sleep(0) log('closed') end) cancel_me() end\n"
         "log(pcall(sleep, 0))",
         "closed false,cancelled: of its own will");
    does("log(pcall(function()\n"
         "  local a <close> = closing(function() sleep(0) log('closed') end)\n"
         "  cancel_me() error('x', 0)\n"
         "end))",
         "closed false,x");
}

/* A pcall ends the cleaning up; one within it does not. */
static void only_what_cleans_up_may_wait(void **state)
{
    (void) state;
    does("cancel_me()\n"
         "local a <close> = closing(function()\n"
         "  pcall(error, 'x') sleep(0) log(pcall(sleep, 0))\n"
         "end)\n"
         "log(pcall(function()\n"
         "  local b <close> = closing(function() sleep(0) log('b') end) sleep(0)\n"
         "end))\n"
         "log(pcall(sleep, 0)) sleep(0)",
         "b false,cancelled: of its own will false,cancelled: of its own will true "
         "error,cancelled: of its own will");
}

static void cleaning_up_is_bounded(void **state)
{
    (void) state;
    world.vm.tasks.cleanup_ms = 20;
    does("local a <close> = closing(function()\n"
         "  log(pcall(sleep, 86400000)) log(pcall(sleep, 0))\n"
         "end)\n"
         "cancel_me() sleep(0)",
         "false,cancelled: of its own will false,cancelled: of its own will "
         "error,cancelled: of its own will");
}

/* Their coroutine is dead: they run, but they cannot wait. */
static void close_variables_of_a_failed_body_cannot_wait(void **state)
{
    (void) state;
    struct run run;
    start_with(&run, bare_body,
               "local a <close> = closing(function() log('closed', (pcall(sleep, 0))) end)\n"
               "error('x', 0)");
    assert_true(run.ended && run.failed);
    settle();
    logged("failed,x closed,false");
}

/* The same while another task runs, to which the wait must not be charged. */
static int start_failing(lua_State *L)
{
    static struct run inner;
    (void) L;
    start_with(&inner, bare_body,
               "local a <close> = closing(function() log('closed', (pcall(sleep, 0))) end)\n"
               "error('x', 0)");
    return 0;
}

static void a_task_may_be_started_by_another(void **state)
{
    (void) state;
    lua_register(world.vm.L, "start_failing", start_failing);
    does("start_failing() sleep(0) log('outer')", "failed,x closed,false outer");
}

#define STUCK                                                                                      \
    "cannot wait here: a C function that cannot be left is running (such as tostring, load "       \
    "or require with a callback); wait before or after it"

/* --- coroutines of the app ---------------------------------------------------------------------
 */

static void coroutines_of_the_app_may_wait(void **state)
{
    (void) state;
    does("local f = coroutine.wrap(function(a)\n"
         "  log('in', a) sleep(1) local b = coroutine.yield('y1') log('in', b)\n"
         "  log((instant(5))) coroutine.yield('y2', 'z') sleep(0) return 'end', nil\n"
         "end)\n"
         "log(f('p')) log(f('q')) log(f()) log(pcall(f))",
         "in,p y1 in,q 5 y2,z end,nil false,cannot resume dead coroutine");
    does("local co = coroutine.create(function(a) sleep(1) log(coroutine.yield(a)) sleep(0) return "
         "9 end)\n"
         "log(coroutine.resume(co, 1)) log(coroutine.status(co)) log(coroutine.resume(co, 2, 3))\n"
         "log(coroutine.status(co)) log(coroutine.resume(co))",
         "true,1 suspended 2,3 true,9 dead false,cannot resume dead coroutine");
}

static void waits_pass_through_coroutines_in_coroutines(void **state)
{
    (void) state;
    does("local function deep(n)\n"
         "  if n == 0 then sleep(0) return instant(3) end\n"
         "  return coroutine.wrap(function() sleep(0) return deep(n - 1) end)()\n"
         "end\n"
         "log(deep(20))",
         "3,passed");
}

static void generators_that_wait_can_be_iterated(void **state)
{
    (void) state;
    does("local total = 0\n"
         "for v in coroutine.wrap(function() for i = 1, 100 do sleep(0) coroutine.yield(i) end "
         "end) do\n"
         "  total = total + v\n"
         "end\n"
         "log(total)",
         "5050");
}

static void errors_pass_through_coroutines_as_in_lua(void **state)
{
    (void) state;
    does("local co = coroutine.create(function() sleep(0) error('x') end)\n"
         "log(coroutine.resume(co)) log(coroutine.status(co)) log(coroutine.resume(co))",
         "false,chunk:1: x dead false,cannot resume dead coroutine");
    does("log(pcall(coroutine.wrap(function() sleep(0) error('x', 0) end)))", "false,x");
    does("local function f() return (coroutine.wrap(function() sleep(0) error('x', 0) end)()) end\n"
         "log(pcall(f))",
         "false,chunk:1: x");
    does(
        "local e = {} log(select(2, pcall(coroutine.wrap(function() sleep(0) error(e) end))) == e)",
        "true");
    does("log(coroutine.resume(coroutine.running()))",
         "false,cannot resume non-suspended coroutine");
    does("local outer = coroutine.running()\n"
         "coroutine.wrap(function() log(coroutine.resume(outer)) end)()",
         "false,cannot resume non-suspended coroutine");
    does("log((pcall(coroutine.resume, 1))) log((pcall(coroutine.wrap, 1)))", "false false");
}

static void wrap_closes_the_variables_of_a_coroutine_that_failed(void **state)
{
    (void) state;
    does("log(pcall(coroutine.wrap(function()\n"
         "  local a <close> = closing(function(_, err) log('closed', err) end)\n"
         "  sleep(0) error('x', 0)\n"
         "end)))",
         "closed,x false,x");
    does("log(pcall(coroutine.wrap(function()\n"
         "  local a <close> = closing(function() error('y', 0) end)\n"
         "  error('x', 0)\n"
         "end)))",
         "false,y");
}

static void cancellation_reaches_into_coroutines(void **state)
{
    (void) state;
    struct run run;
    start(&run, "local f = coroutine.wrap(function() log(pcall(sleep, 86400000)) sleep(1) end)\n"
                "log(pcall(f)) log(pcall(sleep, 1))");
    peri_task_cancel(run.task, "stop");
    settle();
    logged("false,cancelled: stop false,cancelled: stop false,cancelled: stop");
}

static void an_op_outlives_collections_while_a_coroutine_waits(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log(coroutine.wrap(function() return gate() end)())");
    collect();
    open_gate(0);
    settle();
    collect();
    logged("0,passed");
}

static void many_results_pass_through(void **state)
{
    (void) state;
    does("local function numbers() sleep(0) return table.unpack({}, 1, 200) end\n"
         "log(select('#', coroutine.wrap(numbers)()))\n"
         "log(select('#', coroutine.resume(coroutine.create(numbers))))\n"
         "log(select('#', coroutine.wrap(function(...) sleep(0) return ... end)(table.unpack({}, "
         "1, 200))))",
         "200 201 200");
}

static void closing_a_coroutine_runs_its_variables(void **state)
{
    (void) state;
    does("local co = coroutine.create(function()\n"
         "  local a <close> = closing(function(_, err) log('closed', err) end) coroutine.yield()\n"
         "end)\n"
         "coroutine.resume(co) log(coroutine.close(co)) log(coroutine.status(co))\n"
         "log(coroutine.close(co))",
         "closed,nil true dead true");
    does("local co = coroutine.create(function()\n"
         "  local a <close> = closing(function() error('x', 0) end) coroutine.yield()\n"
         "end)\n"
         "coroutine.resume(co) log(coroutine.close(co))\n"
         "log(pcall(coroutine.close, coroutine.running()))\n"
         "log((pcall(coroutine.close, 1)))",
         "false,x false,cannot close a running coroutine false");
}

/* What waits there could never be resumed: the stack below is C's. */
static void closing_a_coroutine_cannot_wait(void **state)
{
    (void) state;
    does("local co = coroutine.create(function()\n"
         "  local a <close> = closing(function() log(pcall(sleep, 1)) end)\n"
         "  coroutine.yield()\n"
         "end)\n"
         "coroutine.resume(co) log(coroutine.close(co)) sleep(2) log('end')",
         "false," STUCK " true end");
    does("log(pcall(coroutine.wrap(function()\n"
         "  local a <close> = closing(function() log((pcall(sleep, 1))) end)\n"
         "  error('x', 0)\n"
         "end)))\n"
         "sleep(2) log('end')",
         "false false,x end");
}

/* Another task closes the coroutine that a task waits in, and everybody forgets it. */
static void a_coroutine_closed_while_it_waits_is_a_dead_one(void **state)
{
    (void) state;
    struct run runs[2];
    start(&runs[0], "co = coroutine.create(function()\n"
                    "  local a <close> = closing(function(_, err) log('closed', err) end)\n"
                    "  gate() log('never')\n"
                    "end)\n"
                    "log(coroutine.resume(co)) log(pcall(sleep, 0)) log('end')");
    start(&runs[1], "log(coroutine.status(co)) log(coroutine.close(co)) co = nil");
    assert_true(runs[1].ended);
    settle();
    collect();
    assert_false(runs[0].ended);
    open_gate(0);
    settle();
    assert_true(runs[0].ended);
    logged("suspended closed,nil true false,cannot resume dead coroutine true end");
}

static void a_coroutine_closed_while_it_waits_leaves_nothing_to_a_cancelled_task(void **state)
{
    (void) state;
    struct run runs[2];
    start(&runs[0], "co = coroutine.create(function() sleep(86400000) end)\n"
                    "log(coroutine.resume(co)) log(pcall(sleep, 0))");
    start(&runs[1], "coroutine.close(co) co = nil");
    collect();
    peri_task_cancel(runs[0].task, "stop");
    settle();
    assert_true(runs[0].ended);
    logged("false,cannot resume dead coroutine false,cancelled: stop");
}

/* A coroutine belongs to who resumes it: when two tasks do, one gets the result. */
static void two_tasks_that_resume_one_coroutine_do_no_harm(void **state)
{
    (void) state;
    struct run runs[2];
    start(&runs[0], "co = coroutine.create(function() sleep(5) return 'done' end)\n"
                    "local ok = coroutine.resume(co) log(ok)");
    start(&runs[1], "local ok = coroutine.resume(co) log(ok) sleep(0)");
    settle();
    assert_true(runs[0].ended && runs[1].ended);
    peri_buf_add_byte(&world.trace, '\0');
    assert_true(strcmp(world.trace.data, "true false") == 0 ||
                strcmp(world.trace.data, "false true") == 0);
    world.trace.len = 0;
}

static void an_op_that_nobody_awaited_is_forgotten(void **state)
{
    (void) state;
    does("log(select(2, unawaited()).code)\n"
         "coroutine.wrap(function() for i = 1, 10 do log(select(2, unawaited()).code) end end)()\n"
         "sleep(0) log('end')",
         "EMFILE EMFILE EMFILE EMFILE EMFILE EMFILE EMFILE EMFILE EMFILE EMFILE EMFILE end");
}

/* --- where nobody can wait ---------------------------------------------------------------------
 */

/* Who passes the message on may put a position before it. */
static void is_stuck(const char *call)
{
    char chunk[512];
    snprintf(chunk, sizeof(chunk),
             "local ok, err = pcall(%s)\n"
             "log(ok, (err:gsub('chunk:%%d+: ', '')))",
             call);
    does(chunk, "false," STUCK);
}

static void waiting_inside_a_c_function_is_a_clear_error(void **state)
{
    (void) state;
    is_stuck("tostring, setmetatable({}, {__tostring = function() sleep(0) end})");
    is_stuck("function() assert(load(function() sleep(0) end)) end");
    is_stuck("tostring, setmetatable({}, {__tostring = coroutine.wrap(function() sleep(0) end)})");
    is_stuck("tostring, setmetatable({}, {__tostring = function()\n"
             "  local function inner() return coroutine.wrap(function() sleep(0) end)() end\n"
             "  assert(coroutine.resume(coroutine.create(inner)))\n"
             "end})");
    assert_int_equal(world.vm.tasks.unyieldable, 0);
    does("sleep(0) log('and then waits as ever')", "and then waits as ever");
}

static void waiting_inside_sort_and_gsub_works(void **state)
{
    (void) state;
    does("local list = {3, 1, 2}\n"
         "table.sort(list, function(a, b) sleep(0) return a < b end)\n"
         "log(table.concat(list))\n"
         "log((('a-b'):gsub('%w', function(c) sleep(1) return c:upper() end)))\n"
         "log((('a-b'):gsub('%w', setmetatable({}, {__index = function(_, k)\n"
         "  sleep(0) return k .. k end}))))",
         "123 A-B aa-bb");
    does("log(pcall(table.sort, {2, 1}, function() sleep(0) error('x', 0) end))\n"
         "log(pcall(string.gsub, 'a', 'a', function() sleep(0) return {} end))",
         "false,x false,invalid replacement value (a table)");
}

static void waiting_inside_metamethods_pcall_and_require_works(void **state)
{
    (void) state;
    does(
        "local t = setmetatable({}, {__index = function(_, k) sleep(0) return k end,\n"
        "  __add = function() sleep(0) return 'sum' end, __eq = function() sleep(0) return true "
        "end,\n"
        "  __call = function(_, a) sleep(0) return a end, __lt = function() sleep(0) return true "
        "end,\n"
        "  __newindex = function(t, k, v) sleep(0) rawset(t, k, v) end,\n"
        "  __concat = function() sleep(0) return 'cat' end, __len = function() sleep(0) return 3 "
        "end})\n"
        "t.x = 1\n"
        "log(t.y, t + 1, t == setmetatable({}, getmetatable(t)), t('c'), t < t, t.x, t .. 'x', #t)",
        "y,sum,true,c,true,1,cat,3");
    does("log(pcall(function() sleep(0) return 1 end))\n"
         "log(xpcall(function() sleep(0) error('x', 0) end, function(e) return e .. '!' end))\n"
         "for k in (function() local n = 0 return function() sleep(0) n = n + 1 return n < 3 and n "
         "or nil end end)() do log(k) end",
         "true,1 false,x! 1 2");
}

static void waiting_inside_a_finalizer_is_an_error_that_harms_nobody(void **state)
{
    (void) state;
    does("setmetatable({}, {__gc = function() log((pcall(sleep, 0))) end})\n"
         "collectgarbage() sleep(0) log('end')",
         "false end");
}

static void waiting_outside_of_tasks_is_a_clear_error(void **state)
{
    (void) state;
    static const char no_task[] =
        "cannot wait here: no task is running (handlers may wait, a loading app may not)";
    static const char *const chunks[] = {
        "sleep(0)",
        "coroutine.wrap(function() sleep(0) end)()",
        "assert(coroutine.resume(coroutine.create(sleep), 0))",
    };
    for (size_t i = 0; i < sizeof(chunks) / sizeof(*chunks); i++)
        assert_non_null(strstr(outside(chunks[i]), no_task));
    assert_null(peri_task_current(world.vm.L));
    assert_string_equal(outside("assert(coroutine.wrap(function() coroutine.yield(1) end)() == 1)"),
                        "no error");
}

/* --- the pool and the memory -------------------------------------------------------------------
 */

static void coroutines_are_used_again(void **state)
{
    (void) state;
    struct run run;
    start(&run, "sleep(0)");
    lua_State *L = run.task->L;
    settle();
    assert_int_equal(world.vm.tasks.free_count, 1);
    start_with(&run, bare_body, "sleep(0) error('x', 0)");
    assert_ptr_equal(run.task->L, L);
    settle();
    logged("failed,x");
    start(&run, "sleep(0) log(select('#', ...)) return 1, 2, 3");
    assert_ptr_equal(run.task->L, L);
    settle();
    logged("0");
    start(&run, "gate()");
    assert_int_equal(world.vm.tasks.free_count, 0);
    assert_int_equal(world.vm.tasks.alive, 1);
    open_gate(0);
    settle();
    assert_int_equal(world.vm.tasks.free_count, 1);
}

static void ten_thousand_tasks_sleep_side_by_side(void **state)
{
    (void) state;
    enum { COUNT = 10000 };
    struct run *runs = calloc(COUNT, sizeof(*runs));
    assert_non_null(runs);
    for (int i = 0; i < COUNT; i++)
        start(&runs[i], "sleep(1) local f = coroutine.wrap(sleep) f(1)");
    assert_int_equal(world.vm.tasks.alive, COUNT);
    assert_int_equal(world.timers.count, COUNT);
    settle();
    for (int i = 0; i < COUNT; i++)
        assert_true(runs[i].ended);
    assert_true(world.vm.tasks.free_count > 0 && world.vm.tasks.free_count < COUNT);
    free(runs);
    assert_int_equal(world.trace.len, 0);
}

static size_t lua_bytes(void)
{
    lua_State *L = world.vm.L;
    return (size_t) lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t) lua_gc(L, LUA_GCCOUNTB);
}

static void the_memory_of_a_vm_is_counted_to_the_byte(void **state)
{
    (void) state;
    assert_int_equal(world.vm.heap.used, lua_bytes());
    does("kept = {} for i = 1, 1000 do kept[i] = {('x'):rep(i), i} sleep(0) "
         "end",
         "");
    assert_int_equal(world.vm.heap.used, lua_bytes());
    size_t before = world.vm.heap.used;
    does("kept = nil", "");
    collect();
    assert_int_equal(world.vm.heap.used, lua_bytes());
    assert_true(world.vm.heap.used + 500000 < before);
}

/* A leaked word in each task would show; what Lua itself may grow once, such as a stack, does not.
 */
static void tasks_leave_no_memory_behind(void **state)
{
    (void) state;
    static const char chunk[] =
        "local f = coroutine.wrap(function() sleep(0) pcall(error, {}) end) f()";
    for (int i = 0; i < 10; i++)
        does(chunk, "");
    collect();
    size_t before = world.vm.heap.used;
    for (int i = 0; i < 1000; i++)
        does(chunk, "");
    collect();
    assert_in_range(world.vm.heap.used, 0, before + 1024);
}

/* --- the VM ------------------------------------------------------------------------------------
 */

static void only_text_is_loaded(void **state)
{
    (void) state;
    does("local code = string.dump(function() end)\n"
         "log((load(code))) log((load(code, 'x', 'b'))) log((load(code, 'x', 'bt')))\n"
         "log((load(function() local c = code code = nil return c end)))\n"
         "log(load('return 1', 'x', 'bt')()) log(load('return 2')()) log(load('return x', 'x', "
         "'t', {x = 3})())\n"
         "log(load('return x', 'x', nil, {x = 4})()) log(pcall(load('return x', 'x', 't', nil)))\n"
         "log((load('return +'))) log((pcall(load)))",
         "nil nil nil nil 1 2 3 4 false,[string \"x\"]:1: attempt to index a nil value (upvalue "
         "'_ENV') nil false");
}

static void errors_of_the_system_have_a_code_and_read_well(void **state)
{
    (void) state;
    does("local nothing, err = unawaited() log(nothing, err.code, err)",
         "nil,EMFILE,too many open files");
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(a_task_runs_at_once_until_its_first_wait),
        test(a_task_that_never_waits_has_ended_when_it_was_started),
        test(sleepers_wake_in_the_order_of_their_times),
        test(sleep_wants_a_time),
        test(an_op_that_is_done_at_once_goes_on_at_once),
        test(the_result_of_an_op_is_made_inside_the_task),
        test(a_callback_only_wakes),
        test(woken_tasks_go_on_in_the_order_they_were_woken),
        test(a_bare_yield_lets_the_others_run),
        test(an_error_of_the_body_ends_the_task_as_failed),
        test(cancelling_a_parked_task_takes_its_timer_back),
        test(the_first_reason_counts),
        test(what_had_happened_before_the_cancellation_arrives),
        test(a_running_task_meets_its_cancellation_at_the_next_wait),
        test(a_swallowed_cancellation_is_met_again),
        test(a_cancelled_task_stays_parked_until_its_op_lets_go),
        test(the_next_task_of_a_coroutine_is_not_cancelled),
        test(only_the_cancelled_error_is_taken_for_it),
        test(close_variables_run_and_may_wait),
        test(close_variables_may_wait_when_a_wait_is_cancelled),
        test(close_variables_may_wait_when_a_cancelled_task_leaves_their_block),
        test(only_what_cleans_up_may_wait),
        test(cleaning_up_is_bounded),
        test(close_variables_of_a_failed_body_cannot_wait),
        test(a_task_may_be_started_by_another),
        test(coroutines_of_the_app_may_wait),
        test(waits_pass_through_coroutines_in_coroutines),
        test(generators_that_wait_can_be_iterated),
        test(errors_pass_through_coroutines_as_in_lua),
        test(wrap_closes_the_variables_of_a_coroutine_that_failed),
        test(cancellation_reaches_into_coroutines),
        test(an_op_outlives_collections_while_a_coroutine_waits),
        test(many_results_pass_through),
        test(closing_a_coroutine_runs_its_variables),
        test(closing_a_coroutine_cannot_wait),
        test(a_coroutine_closed_while_it_waits_is_a_dead_one),
        test(a_coroutine_closed_while_it_waits_leaves_nothing_to_a_cancelled_task),
        test(two_tasks_that_resume_one_coroutine_do_no_harm),
        test(an_op_that_nobody_awaited_is_forgotten),
        test(waiting_inside_a_c_function_is_a_clear_error),
        test(waiting_inside_sort_and_gsub_works),
        test(waiting_inside_metamethods_pcall_and_require_works),
        test(waiting_inside_a_finalizer_is_an_error_that_harms_nobody),
        test(waiting_outside_of_tasks_is_a_clear_error),
        test(coroutines_are_used_again),
        test(ten_thousand_tasks_sleep_side_by_side),
        test(the_memory_of_a_vm_is_counted_to_the_byte),
        test(tasks_leave_no_memory_behind),
        test(only_text_is_loaded),
        test(errors_of_the_system_have_a_code_and_read_well),
    };
#undef test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
