/* Workers: the bounded queue before them, its deadline, and who comes first. */
#include "worker_world.h"

static int guest_body(lua_State *L)
{
    (void) L;
    return 0;
}

#define REFUSED "local _, err = pcall(call, 'echo') log(err.status, err.detail, err.headers[1][1])"

static struct run busy[THREADS];

/* Every thread is held by the test. */
static void hold_all(void)
{
    for (int i = 0; i < THREADS; i++)
        start(&busy[i], "call('blocked')");
    turn();
    wait_until_begun(THREADS);
}

static void let_go(void)
{
    for (int i = 0; i < THREADS; i++)
        sem_post(&world.go_on);
    for (int i = 0; i < THREADS; i++)
        finish(&busy[i]);
}

static void the_queue_is_bounded(void **state)
{
    (void) state;
    struct run queued[MAX_QUEUED];
    hold_all();
    for (int i = 0; i < MAX_QUEUED; i++)
        start(&queued[i], "log(call('echo', 'served'))");
    turn();
    struct peri_workers_stats stats = peri_workers_stats(world.workers);
    assert_int_equal(stats.threads, THREADS);
    assert_int_equal(stats.busy, THREADS);
    assert_int_equal(stats.depth, MAX_QUEUED);
    does(REFUSED, "503 Too many requests wait for a thread Retry-After");
    assert_int_equal(peri_workers_stats(world.workers).refused, 1);
    let_go();
    for (int i = 0; i < MAX_QUEUED; i++)
        finish(&queued[i]);
    logged("served served");
    stats = peri_workers_stats(world.workers);
    assert_int_equal(stats.depth, 0);
    assert_int_equal(stats.trips, THREADS + MAX_QUEUED);
    assert_true(stats.wait_ns > 0 && stats.slowest_ns > 0 && stats.slowest_ns <= stats.wait_ns);
}

static void who_waits_for_too_long_is_refused(void **state)
{
    (void) state;
    struct run late;
    hold_all();
    start(&late, REFUSED);
    turn();
    assert_int_equal(peri_workers_stats(world.workers).depth, 1);
    uint64_t now = peri_timers_now(&world.timers);
    peri_timers_advance(&world.timers, now + MAX_WAIT_MS / 2);
    turn();
    assert_false(late.ended);
    while (peri_timers_advance(&world.timers, now + 2 * MAX_WAIT_MS))
        ;
    finish(&late);
    logged("503 No thread was free in time Retry-After");
    assert_int_equal(peri_workers_stats(world.workers).depth, 0);
    assert_int_equal(peri_workers_stats(world.workers).refused, 1);
    let_go();
    assert_int_equal(atomic_load(&world.begun), THREADS);
}

static void a_cancelled_trip_leaves_the_queue(void **state)
{
    (void) state;
    struct run queued;
    hold_all();
    start(&queued, "log(pcall(call, 'echo'))");
    turn();
    assert_int_equal(peri_workers_stats(world.workers).depth, 1);
    peri_task_cancel(queued.task, "not wanted");
    finish(&queued);
    logged("false cancelled: not wanted");
    assert_int_equal(peri_workers_stats(world.workers).depth, 0);
    let_go();
    assert_int_equal(atomic_load(&world.begun), THREADS); /* it never ran */
}

static void urgent_trips_are_never_refused_and_come_first(void **state)
{
    (void) state;
    struct run queued[MAX_QUEUED];
    struct run urgent;
    hold_all();
    for (int i = 0; i < MAX_QUEUED; i++)
        start(&queued[i], "log(call('blocked'))");
    turn();
    start(&urgent, "log(call('echo', 'urgent', true))");
    turn();
    assert_int_equal(peri_workers_stats(world.workers).depth, MAX_QUEUED + 1);
    assert_int_equal(peri_workers_stats(world.workers).refused, 0);
    sem_post(&world.go_on); /* one thread, which the others that wait would hold for ever */
    finish(&urgent);
    logged("urgent");
    for (int i = 0; i < MAX_QUEUED; i++)
        sem_post(&world.go_on);
    sem_post(&world.go_on);
    for (int i = 0; i < THREADS; i++)
        finish(&busy[i]);
    for (int i = 0; i < MAX_QUEUED; i++)
        finish(&queued[i]);
    logged("unblocked unblocked");
}

static void apps_that_load_differently_are_told_apart(void **state)
{
    (void) state;
    struct peri_vm other = {0};
    struct peri_buf error = {0};
    char *here[] = {"app.lua:1", "app.lua:2"};
    char *there[] = {"app.lua:1", "app.lua:3"};
    struct peri_vm first = {0};
    first.app.threaded = here;
    first.app.threaded_count = 2;
    other.app.threaded = here;
    other.app.threaded_count = 2;
    assert_true(peri_workers_agree(&first, &other, &error));
    other.app.threaded = there;
    assert_false(peri_workers_agree(&first, &other, &error));
    peri_buf_add_byte(&error, '\0');
    assert_non_null(strstr(error.data, "threaded function 2 is app.lua:2 in one and app.lua:3"));
    error.len = 0;
    other.app.threaded_count = 1;
    assert_false(peri_workers_agree(&first, &other, &error));
    peri_buf_add_byte(&error, '\0');
    assert_non_null(strstr(error.data, "app.lua:2 in one and nothing in another"));
    peri_buf_deinit(&error);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(the_queue_is_bounded),
        test(who_waits_for_too_long_is_refused),
        test(a_cancelled_trip_leaves_the_queue),
        test(urgent_trips_are_never_refused_and_come_first),
        cmocka_unit_test(apps_that_load_differently_are_told_apart),
    };
#undef test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
