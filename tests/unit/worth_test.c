#include "worth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Counts `trips` of them; returns what the last one said, after the others said nothing. */
static uint64_t count(struct peri_worth *worth, int trips, uint64_t ns)
{
    for (int i = 1; i < trips; i++)
        assert_int_equal(peri_worth_count(worth, ns, false), 0);
    return peri_worth_count(worth, ns, false);
}

static void it_is_said_once_after_a_hundred_short_trips(void **state)
{
    (void) state;
    struct peri_worth worth = {0};
    assert_int_equal(count(&worth, PERI_WORTH_TRIPS, 1500), 1500);
    assert_int_equal(count(&worth, 3 * PERI_WORTH_TRIPS, 1500), 0);
}

static void trips_below_the_clock_count_too(void **state)
{
    (void) state;
    struct peri_worth worth = {0};
    assert_true(count(&worth, PERI_WORTH_TRIPS, 0) > 0);
}

static void what_computes_is_worth_it(void **state)
{
    (void) state;
    struct peri_worth worth = {0};
    assert_int_equal(count(&worth, 3 * PERI_WORTH_TRIPS, PERI_WORTH_NS), 0);
}

static void a_slow_start_is_forgotten(void **state)
{
    (void) state;
    struct peri_worth worth = {0};
    assert_int_equal(peri_worth_count(&worth, UINT64_C(1000000000), false), 0);
    assert_int_equal(count(&worth, PERI_WORTH_TRIPS - 1, 10), 0);
    assert_int_equal(count(&worth, PERI_WORTH_TRIPS, 10), 10);
}

static void what_has_waited_once_is_never_told(void **state)
{
    (void) state;
    struct peri_worth worth = {0};
    assert_int_equal(count(&worth, PERI_WORTH_TRIPS - 1, 10), 0);
    assert_int_equal(peri_worth_count(&worth, 10, true), 0);
    assert_int_equal(count(&worth, 3 * PERI_WORTH_TRIPS, 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_said_once_after_a_hundred_short_trips),
        cmocka_unit_test(trips_below_the_clock_count_too),
        cmocka_unit_test(what_computes_is_worth_it),
        cmocka_unit_test(a_slow_start_is_forgotten),
        cmocka_unit_test(what_has_waited_once_is_never_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
