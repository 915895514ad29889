/* Coroutines that the app makes: they wait, fail, are closed and are cancelled as any other code.
 */
#include "task_world.h"

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

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
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
    };
#undef test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
