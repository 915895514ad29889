/* Trips: what goes to a worker comes home, whatever happens to who waits for it meanwhile. */
#include "worker_world.h"

static int guest_body(lua_State *L)
{
    struct peri_trip *trip = lua_touserdata(L, 1);
    assert_ptr_equal(peri_vm_of(L), &world.vm);
    answer(trip, peri_trip_caller(peri_task_current(L)) != NULL ? "with a caller" : "alone");
    return 0;
}

static void what_goes_out_comes_back(void **state)
{
    (void) state;
    does("for i = 1, 300 do assert(call('echo', 'text ' .. i) == 'text ' .. i) end log('all')",
         "all");
    assert_int_equal(peri_workers_stats(world.workers).trips, 300);
    assert_int_equal(atomic_load(&world.begun), 300);
    assert_true(atomic_load(&world.cargo_drops) >= 299); /* the last one is kept until the next */
}

static void a_body_that_raises_says_so_and_nothing_else(void **state)
{
    (void) state;
    does("log(pcall(call, 'raises')) log(call('echo', 'on'))", "false failed: the body broke on");
}

/* Its caller is cancelled while a worker, whom nobody can interrupt, has it. */
static void leave_blocked_trip(void)
{
    struct run run;
    start(&run, "log(pcall(call, 'blocked'))");
    turn();
    wait_until_begun(1);
    peri_task_cancel(run.task, "not wanted");
    finish(&run);
    logged("false cancelled: not wanted");
}

static void a_cancelled_caller_goes_on_at_once(void **state)
{
    (void) state;
    leave_blocked_trip();
    assert_int_equal(peri_workers_stats(world.workers).busy, 1); /* nobody can interrupt it */
    sem_post(&world.go_on);
    does("log(call('echo', 'next'))", "next"); /* a late answer is nobody's */
    wait_until_busy(0);
}

static void a_cancelled_caller_cancels_what_it_waited_for(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log(pcall(call, 'asleep'))");
    turn();
    wait_until_begun(1);
    peri_task_cancel(run.task, "not wanted");
    finish(&run);
    logged("false cancelled: not wanted");
    wait_until_busy(0);
}

static void a_trip_that_has_not_left_never_does(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log(pcall(call, 'echo'))");
    peri_task_cancel(run.task, "not wanted"); /* before the loop has turned */
    finish(&run);
    logged("false cancelled: not wanted");
    does("log(call('echo', 'another'))", "another");
    assert_int_equal(atomic_load(&world.begun), 1);
}

static void a_promised_result_is_taken_by_a_cancelled_caller(void **state)
{
    (void) state;
    struct run run;
    start(&run, "log(pcall(call, 'promises'))");
    turn();
    wait_until_begun(1);
    peri_task_cancel(run.task, "not wanted");
    turn();
    assert_false(run.ended);
    sem_post(&world.go_on);
    finish(&run);
    logged("true promised");
}

static void a_visit_runs_where_the_trip_came_from(void **state)
{
    (void) state;
    does("log(call('visiting'))", "guest: with a caller");
}

static void a_vm_may_close_before_its_answers_come(void **state)
{
    (void) state;
    leave_blocked_trip();
    close_vm();
    sem_post(&world.go_on);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(what_goes_out_comes_back),
        test(a_body_that_raises_says_so_and_nothing_else),
        test(a_cancelled_caller_goes_on_at_once),
        test(a_cancelled_caller_cancels_what_it_waited_for),
        test(a_trip_that_has_not_left_never_does),
        test(a_promised_result_is_taken_by_a_cancelled_caller),
        test(a_visit_runs_where_the_trip_came_from),
        cmocka_unit_test_setup_teardown(a_vm_may_close_before_its_answers_come, set_up,
                                        end_workers),
    };
#undef test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
