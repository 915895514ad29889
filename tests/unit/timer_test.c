/* The heap of deadlines: order, moving, stopping, also while it fires. Nothing here depends on how
 * long anything takes: what is due has passed already, or the order alone is looked at. */
#include "timer.h"

#include "list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MANY 100000

struct node {
    struct peri_timer timer;
    int number;
    void (*then)(struct node *node); /* what else to do when it fires */
};

static struct {
    uv_loop_t loop;
    struct peri_timers timers;
    uint64_t start;
    int *fired; /* the numbers, in the order in which they fired */
    int count;
} clocks;

static void on_fire(struct peri_timer *timer)
{
    struct node *node = peri_container_of(timer, struct node, timer);
    assert_false(peri_timer_runs(timer));
    clocks.fired[clocks.count++] = node->number;
    if (node->then != NULL)
        node->then(node);
}

static int set_up(void **state)
{
    (void) state;
    uv_loop_init(&clocks.loop);
    peri_timers_open(&clocks.timers, &clocks.loop);
    clocks.start = uv_now(&clocks.loop);
    clocks.fired = calloc(2 * MANY, sizeof(int));
    clocks.count = 0;
    return clocks.fired == NULL;
}

/* The loop is empty in the end: that is the leak check. */
static int tear_down(void **state)
{
    (void) state;
    peri_timers_close(&clocks.timers);
    uv_run(&clocks.loop, UV_RUN_DEFAULT);
    free(clocks.fired);
    return uv_loop_close(&clocks.loop);
}

static void start(struct node *node, int number, uint64_t ms)
{
    node->number = number;
    node->timer.fire = on_fire;
    peri_timer_start(&clocks.timers, &node->timer, clocks.start + ms);
}

static void run(void)
{
    uv_run(&clocks.loop, UV_RUN_DEFAULT); /* ends when no timer runs any more */
    assert_int_equal(clocks.timers.count, 0);
}

static void fired(int count, const int *numbers)
{
    assert_int_equal(clocks.count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(clocks.fired[i], numbers[i]);
}

#define FIRED(...) fired(sizeof((int[]){__VA_ARGS__}) / sizeof(int), (const int[]){__VA_ARGS__})

static void timers_fire_in_the_order_they_are_due(void **state)
{
    (void) state;
    struct node nodes[5] = {0};
    static const uint64_t due[] = {4, 2, 5, 1, 3};
    for (int i = 0; i < 5; i++)
        start(&nodes[i], (int) due[i], due[i]);
    for (int i = 0; i < 5; i++)
        assert_true(peri_timer_runs(&nodes[i].timer));
    run();
    FIRED(1, 2, 3, 4, 5);
}

static void no_timer_fires_before_its_time(void **state)
{
    (void) state;
    struct node node = {0};
    start(&node, 1, 20);
    run();
    assert_true(uv_now(&clocks.loop) >= clocks.start + 20);
    FIRED(1);
}

static void a_time_that_has_passed_fires_at_once(void **state)
{
    (void) state;
    struct node node = {0};
    node.number = 1;
    node.timer.fire = on_fire;
    peri_timer_start(&clocks.timers, &node.timer, 0);
    run();
    FIRED(1);
}

static void a_running_timer_can_be_moved_both_ways(void **state)
{
    (void) state;
    struct node nodes[3] = {0};
    for (int i = 0; i < 3; i++)
        start(&nodes[i], i, 10 + (uint64_t) i);
    start(&nodes[2], 2, 1);
    start(&nodes[0], 0, 20);
    start(&nodes[1], 1, 11); /* to where it is */
    run();
    FIRED(2, 1, 0);
}

static void a_stopped_timer_never_fires(void **state)
{
    (void) state;
    struct node nodes[4] = {0};
    for (int i = 0; i < 4; i++)
        start(&nodes[i], i, (uint64_t) i);
    peri_timer_stop(&clocks.timers, &nodes[0].timer); /* the first, which the clock is set to */
    peri_timer_stop(&clocks.timers, &nodes[2].timer);
    peri_timer_stop(&clocks.timers, &nodes[2].timer); /* twice is harmless */
    assert_false(peri_timer_runs(&nodes[2].timer));
    run();
    FIRED(1, 3);
}

static void the_loop_ends_when_the_last_timer_is_stopped(void **state)
{
    (void) state;
    struct node node = {0};
    start(&node, 1, 86400000);
    peri_timer_stop(&clocks.timers, &node.timer);
    run();
    assert_int_equal(clocks.count, 0);
}

static struct node others[3];

static void stop_others(struct node *node)
{
    (void) node;
    for (int i = 0; i < 3; i++)
        peri_timer_stop(&clocks.timers, &others[i].timer);
}

static void a_firing_timer_can_stop_those_that_are_due_with_it(void **state)
{
    (void) state;
    struct node first = {.then = stop_others};
    struct node last = {0};
    clocks.start -= 10; /* all are due */
    for (int i = 0; i < 3; i++)
        start(&others[i], 10 + i, 1);
    start(&first, 1, 0);
    start(&last, 2, 1);
    run();
    FIRED(1, 2);
}

static void start_again(struct node *node)
{
    if (clocks.count < 5)
        start(node, node->number + 1, 3 * (uint64_t) clocks.count);
}

static void a_firing_timer_can_start_itself_again(void **state)
{
    (void) state;
    struct node node = {.then = start_again};
    start(&node, 1, 1);
    run();
    FIRED(1, 2, 3, 4, 5);
}

static void move_others(struct node *node)
{
    (void) node;
    start(&others[0], 10, 60);
    start(&others[2], 12, 30);
}

static void a_firing_timer_can_move_others(void **state)
{
    (void) state;
    struct node node = {.then = move_others};
    clocks.start -= 10;
    start(&node, 1, 0);
    start(&others[0], 10, 1); /* due, too */
    start(&others[1], 11, 40);
    start(&others[2], 12, 86400000);
    run();
    FIRED(1, 12, 11, 10);
}

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % limit;
}

static int by_due(const void *a, const void *b)
{
    uint64_t left = (*(struct node *const *) a)->timer.due;
    uint64_t right = (*(struct node *const *) b)->timer.due;
    return (left > right) - (left < right);
}

/* Starts, moves and stops at random; then the survivors must fire as a sorted list of them says. */
static void a_hundred_thousand_timers_agree_with_a_sorted_list(void **state)
{
    (void) state;
    struct node *nodes = calloc(MANY, sizeof(*nodes));
    struct node **sorted = calloc(MANY, sizeof(struct node *));
    assert_true(nodes != NULL && sorted != NULL);
    clocks.start -= 1000; /* most of them are due already */
    for (int i = 0; i < MANY; i++)
        start(&nodes[i], i, random_below(1050));
    for (int i = 0; i < MANY; i++) {
        int any = (int) random_below(MANY);
        if (random_below(3) == 0)
            peri_timer_stop(&clocks.timers, &nodes[any].timer);
        else
            start(&nodes[any], any, random_below(1050));
    }
    int count = 0;
    for (int i = 0; i < MANY; i++) {
        if (peri_timer_runs(&nodes[i].timer))
            sorted[count++] = &nodes[i];
    }
    assert_int_equal(clocks.timers.count, count);
    qsort(sorted, (size_t) count, sizeof(*sorted), by_due);
    run();

    assert_int_equal(clocks.count, count);
    char *seen = calloc(MANY, 1);
    assert_non_null(seen);
    for (int i = 0; i < count; i++) {
        const struct node *node = &nodes[clocks.fired[i]];
        assert_int_equal(node->timer.due, sorted[i]->timer.due);
        assert_int_equal(seen[node->number]++, 0);
    }
    free(seen);
    free(sorted);
    free(nodes);
}

static void a_frozen_clock_moves_when_it_is_told(void **state)
{
    (void) state;
    struct node nodes[3] = {0};
    start(&nodes[0], 0, 0);
    peri_timers_freeze(&clocks.timers);
    uint64_t frozen = peri_timers_now(&clocks.timers);
    start(&nodes[1], 1, 60000);
    start(&nodes[2], 2, 3600000);
    uv_run(&clocks.loop, UV_RUN_DEFAULT); /* nothing keeps it: the clock does not tick */
    assert_int_equal(clocks.count, 0);

    assert_true(peri_timers_advance(&clocks.timers, frozen + 59999));
    FIRED(0);
    assert_false(peri_timers_advance(&clocks.timers, frozen + 59999));
    assert_int_equal(peri_timers_now(&clocks.timers), frozen + 59999);
    assert_true(peri_timers_advance(&clocks.timers, UINT64_MAX));
    FIRED(0, 1);
    assert_true(peri_timers_now(&clocks.timers) >= frozen + 60000);

    peri_timer_stop(&clocks.timers, &nodes[2].timer);
    assert_false(peri_timers_advance(&clocks.timers, frozen));
}

static void what_a_thawed_clock_left_open_happens_in_real_time(void **state)
{
    (void) state;
    struct node nodes[2] = {0};
    peri_timers_freeze(&clocks.timers);
    uint64_t frozen = peri_timers_now(&clocks.timers);
    start(&nodes[0], 0, 2000);
    start(&nodes[1], 1, 2001);
    assert_false(peri_timers_advance(&clocks.timers, frozen + 1990));
    peri_timers_thaw(&clocks.timers);
    assert_true(nodes[0].timer.due <= uv_now(&clocks.loop) + 10);
    run();
    FIRED(0, 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(timers_fire_in_the_order_they_are_due),
        test(no_timer_fires_before_its_time),
        test(a_time_that_has_passed_fires_at_once),
        test(a_running_timer_can_be_moved_both_ways),
        test(a_stopped_timer_never_fires),
        test(the_loop_ends_when_the_last_timer_is_stopped),
        test(a_firing_timer_can_stop_those_that_are_due_with_it),
        test(a_firing_timer_can_start_itself_again),
        test(a_firing_timer_can_move_others),
        test(a_frozen_clock_moves_when_it_is_told),
        test(what_a_thawed_clock_left_open_happens_in_real_time),
        test(a_hundred_thousand_timers_agree_with_a_sorted_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
