/* Tasks, ops and the VM they run in: waiting, waking, cancelling, and that nothing is left
 * behind. Chunks of Lua run as tasks and write down what they do. */
#include "task_world.h"

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

/* The parent has waited for longer than the child: it comes first. */
static void cancelling_all_reaches_tasks_that_it_wakes(void **state)
{
    (void) state;
    struct run run;
    start(&run, "require('perigee.host').task.group(function(g)\n"
                "  g:spawn(function() sleep(1) gate() sleep(1000000) end)\n"
                "  g:spawn(function() log(pcall(sleep, 1000000)) end)\n"
                "end)");
    while (world.gate_count == 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    open_gate(0);
    uv_run(&world.loop, UV_RUN_NOWAIT);
    peri_tasks_cancel(&world.vm.tasks, "all of them");
    settle();
    assert_true(run.ended);
    logged("false,cancelled: all of them error,cancelled: all of them");
}

/* Ends the tasks as a server that stops does. */
static void cut(unsigned cleanup_ms)
{
    struct peri_tasks *tasks = &world.vm.tasks;
    peri_tasks_bound_cleanup(tasks, cleanup_ms);
    peri_tasks_end_by(tasks, uv_now(&world.loop) + cleanup_ms);
    peri_tasks_cancel(tasks, "the server stops");
}

static void a_shield_of_minutes_holds_until_the_last_call(void **state)
{
    (void) state;
    struct run run;
    start(&run, "task = require('perigee.host').task\n"
                "task.shield(600000, function()\n"
                "  local c <close> = closing(function() sleep(1) log('closed') end)\n"
                "  task.group(function(g)\n"
                "    g:spawn(function() task.shield(600000, sleep, 600000) end)\n"
                "    log(pcall(sleep, 600000))\n"
                "    log(pcall(sleep, 600000))\n"
                "  end)\n"
                "end)\n");
    cut(20);
    uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_false(run.ended);
    settle();
    assert_true(run.ended);
    logged("false,cancelled: the server stops false,cancelled: the server stops closed");
}

static void what_begins_behind_the_last_call_is_not_forced(void **state)
{
    (void) state;
    struct run run;
    start(&run, "require('perigee.host').task.shield(600000, sleep, 600000)");
    cut(1);
    struct run stop; /* as the app's stop does */
    start(&stop, "sleep(30) log('stopped')");
    settle();
    assert_true(run.ended && stop.ended);
    logged("error,cancelled: the server stops stopped");
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
        test(cancelling_all_reaches_tasks_that_it_wakes),
        test(a_shield_of_minutes_holds_until_the_last_call),
        test(what_begins_behind_the_last_call_is_not_forced),
    };
#undef test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
