#include "limit.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants these four first */
#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

static const struct peri_limit_rate ten_a_second = {.every_ns = SECOND / 10, .burst = 10};

static struct peri_limit_answer take(const char *key, uint64_t now_ns)
{
    return peri_limit_take(key, strlen(key), ten_a_second, now_ns);
}

static int forget(void **state)
{
    (void) state;
    peri_limit_forget();
    return 0;
}

static void a_burst_is_allowed_and_then_the_rate(void **state)
{
    (void) state;
    uint64_t now = 5 * SECOND;
    for (uint64_t i = 0; i < 10; i++) {
        struct peri_limit_answer answer = take("a", now);
        assert_true(answer.allowed);
        assert_int_equal(answer.left, 9 - i);
        assert_int_equal(answer.reset_ns, (i + 1) * SECOND / 10);
    }
    struct peri_limit_answer refused = take("a", now);
    assert_false(refused.allowed);
    assert_int_equal(refused.wait_ns, SECOND / 10);
    assert_int_equal(refused.reset_ns, SECOND);
    assert_false(take("a", now + SECOND / 10 - 1).allowed);
    assert_true(take("a", now + SECOND / 10).allowed);
    assert_false(take("a", now + SECOND / 10).allowed);
    assert_int_equal(take("a", now + 100 * SECOND).left, 9);
}

static void keys_have_nothing_to_do_with_each_other(void **state)
{
    (void) state;
    for (int i = 0; i < 11; i++)
        take("a", SECOND);
    assert_int_equal(take("b", SECOND).left, 9);
    assert_false(take("a", SECOND).allowed);
}

static void what_is_as_good_as_new_is_forgotten(void **state)
{
    (void) state;
    char key[32];
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        /* Each round of 500 comes when the one before has had its second. */
        assert_true(take(key, (uint64_t) (i / 500) * 2 * SECOND).allowed);
    }
    assert_true(peri_limit_count() < 2000);
}

static void many_keys_at_once_are_all_known(void **state)
{
    (void) state;
    char key[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 50000; i++) {
            snprintf(key, sizeof(key), "%d", i);
            assert_int_equal(take(key, SECOND).left, 9 - round);
        }
    }
    assert_int_equal(peri_limit_count(), 50000);
}

enum { THREADS = 4, TURNS = 5000 };

static void *take_many(void *allowed)
{
    for (int i = 0; i < TURNS; i++) {
        struct peri_limit_rate rate = {.every_ns = SECOND, .burst = TURNS};
        *(int *) allowed += peri_limit_take("shared", 6, rate, SECOND).allowed;
    }
    return NULL;
}

static void threads_count_together(void **state)
{
    (void) state;
    pthread_t threads[THREADS];
    int allowed[THREADS] = {0};
    int sum = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &allowed[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += allowed[i];
    }
    assert_int_equal(sum, TURNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_burst_is_allowed_and_then_the_rate, forget),
        cmocka_unit_test_setup(keys_have_nothing_to_do_with_each_other, forget),
        cmocka_unit_test_setup(what_is_as_good_as_new_is_forgotten, forget),
        cmocka_unit_test_setup(many_keys_at_once_are_all_known, forget),
        cmocka_unit_test_setup_teardown(threads_count_together, forget, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
