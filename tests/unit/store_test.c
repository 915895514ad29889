/* The store of the process: values, versions, lists, limits, snapshots, and threads at once. */
#include "store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define KEY(text) text, sizeof(text) - 1

static int open_store(void **state)
{
    *state = peri_store_new(1 << 20);
    return 0;
}

static int close_store(void **state)
{
    peri_store_free(*state);
    return 0;
}

static struct peri_store_value integer(int64_t value)
{
    return (struct peri_store_value){.kind = PERI_STORE_INTEGER, .integer = value};
}

static struct peri_store_value bytes(const char *text)
{
    return (struct peri_store_value){.kind = PERI_STORE_BYTES, .bytes = text, .len = strlen(text)};
}

static enum peri_store_result set(struct peri_store *store, const char *key,
                                  struct peri_store_value value)
{
    return peri_store_set(store, key, strlen(key), &value, 0, PERI_STORE_ALWAYS);
}

/* What stands under the key, as text: "-" when there is nothing. The caller frees nothing. */
static const char *get(struct peri_store *store, const char *key)
{
    static char text[256];
    struct peri_store_value value;
    struct peri_buf out = {0};
    assert_int_equal(peri_store_get(store, key, strlen(key), &value, &out), PERI_STORE_DONE);
    if (value.kind == PERI_STORE_INTEGER)
        snprintf(text, sizeof(text), "%lld", (long long) value.integer);
    else if (value.kind == PERI_STORE_FLOAT)
        snprintf(text, sizeof(text), "%g", value.number);
    else if (value.kind == PERI_STORE_BYTES)
        snprintf(text, sizeof(text), "%.*s", (int) out.len, out.len > 0 ? out.data : "");
    else
        snprintf(text, sizeof(text), "-");
    peri_buf_deinit(&out);
    return text;
}

static void values_are_put_replaced_and_removed(void **state)
{
    struct peri_store *store = *state;
    assert_string_equal(get(store, "a"), "-");
    set(store, "a", integer(INT64_MIN));
    assert_string_equal(get(store, "a"), "-9223372036854775808");
    set(store, "a", bytes("burger"));
    assert_string_equal(get(store, "a"), "burger");
    set(store, "a", bytes(""));
    assert_string_equal(get(store, "a"), "");
    assert_int_equal(peri_store_delete(store, KEY("a"), 0), PERI_STORE_DONE);
    assert_int_equal(peri_store_delete(store, KEY("a"), 0), PERI_STORE_REFUSED);
    assert_string_equal(get(store, "a"), "-");
}

static void conditions_hold_or_refuse(void **state)
{
    struct peri_store *store = *state;
    struct peri_store_value value = integer(1);
    struct peri_store_value seen;
    assert_int_equal(peri_store_set(store, KEY("a"), &value, 0, PERI_STORE_IF_ABSENT),
                     PERI_STORE_DONE);
    assert_int_equal(peri_store_set(store, KEY("a"), &value, 0, PERI_STORE_IF_ABSENT),
                     PERI_STORE_REFUSED);
    peri_store_get(store, KEY("a"), &seen, NULL);
    value.version = seen.version;
    assert_int_equal(peri_store_set(store, KEY("a"), &value, 0, PERI_STORE_IF_VERSION),
                     PERI_STORE_DONE);
    assert_int_equal(peri_store_set(store, KEY("a"), &value, 0, PERI_STORE_IF_VERSION),
                     PERI_STORE_REFUSED); /* it has another version now */
    assert_int_equal(peri_store_delete(store, KEY("a"), seen.version), PERI_STORE_REFUSED);
    value.version = 0;
    assert_int_equal(peri_store_set(store, KEY("b"), &value, 0, PERI_STORE_IF_VERSION),
                     PERI_STORE_DONE);
}

static void numbers_add_up_and_never_wrap_round(void **state)
{
    struct peri_store *store = *state;
    struct peri_store_value initial = integer(10);
    struct peri_store_value by = integer(5);
    peri_store_incr(store, KEY("n"), &by, &initial, 0);
    assert_int_equal(by.integer, 15);
    by = (struct peri_store_value){.kind = PERI_STORE_FLOAT, .number = 0.5};
    peri_store_incr(store, KEY("n"), &by, &initial, 0);
    assert_string_equal(get(store, "n"), "15.5");
    set(store, "n", integer(INT64_MAX));
    by = integer(1);
    assert_int_equal(peri_store_incr(store, KEY("n"), &by, &initial, 0), PERI_STORE_OVERFLOW);
    set(store, "n", bytes("x"));
    assert_int_equal(peri_store_incr(store, KEY("n"), &by, &initial, 0), PERI_STORE_WRONG_KIND);
}

static void what_has_expired_is_absent(void **state)
{
    struct peri_store *store = *state;
    struct peri_store_value value = integer(1);
    struct peri_store_stats stats;
    uint64_t ms = 0;
    peri_store_set(store, KEY("a"), &value, 1, PERI_STORE_ALWAYS);
    peri_store_set(store, KEY("b"), &value, 100000, PERI_STORE_ALWAYS);
    while (strcmp(get(store, "a"), "-") != 0)
        usleep(500);
    assert_int_equal(peri_store_set(store, KEY("a"), &value, 0, PERI_STORE_IF_ABSENT),
                     PERI_STORE_DONE);
    assert_int_equal(peri_store_ttl(store, KEY("a"), &ms), PERI_STORE_DONE);
    assert_int_equal(ms, 0);
    peri_store_ttl(store, KEY("b"), &ms);
    assert_in_range(ms, 1, 100000);
    peri_store_expire(store, KEY("b"), 0);
    peri_store_ttl(store, KEY("b"), &ms);
    assert_int_equal(ms, 0);
    peri_store_stats(store, &stats);
    assert_int_equal(stats.expired, 1);
}

static void push(struct peri_store *store, const char *text, bool front, uint64_t expected)
{
    uint64_t count = 0;
    peri_store_push(store, KEY("list"), text, strlen(text), front, &count);
    assert_int_equal(count, expected);
}

static void pop(struct peri_store *store, bool front, const char *expected)
{
    struct peri_buf out = {0};
    assert_int_equal(peri_store_pop(store, KEY("list"), front, &out), PERI_STORE_DONE);
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.data, expected, out.len);
    peri_buf_deinit(&out);
}

static void lists_have_two_ends(void **state)
{
    struct peri_store *store = *state;
    struct peri_store_stats stats;
    uint64_t count = 0;
    push(store, "b", false, 1);
    push(store, "c", false, 2);
    push(store, "a", true, 3);
    assert_int_equal(peri_store_length(store, KEY("list"), &count), PERI_STORE_DONE);
    assert_int_equal(count, 3);
    pop(store, true, "a");
    pop(store, false, "c");
    pop(store, true, "b");
    assert_int_equal(peri_store_pop(store, KEY("list"), true, NULL), PERI_STORE_REFUSED);
    peri_store_stats(store, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.bytes, 0);
    set(store, "list", integer(1));
    assert_int_equal(peri_store_push(store, KEY("list"), "x", 1, true, &count),
                     PERI_STORE_WRONG_KIND);
}

static void beyond_the_limit_the_oldest_go(void **state)
{
    struct peri_store *store = *state;
    struct peri_store_stats stats;
    char key[32];
    char *text = malloc(200);
    memset(text, 'x', 199);
    text[199] = '\0';
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        set(store, key, bytes(text));
        set(store, "kept", integer(i)); /* used all the time */
    }
    peri_store_stats(store, &stats);
    assert_in_range(stats.bytes, stats.max_bytes / 2, stats.max_bytes);
    assert_int_equal(stats.entries + stats.evicted, 20001);
    assert_string_equal(get(store, "kept"), "19999");
    assert_string_equal(get(store, "key 19999"), text);
    assert_string_equal(get(store, "key 0"), "-");
    free(text);
}

static void what_is_larger_than_the_store_is_refused(void **state)
{
    struct peri_store *store = *state;
    size_t size = 2 << 20;
    char *text = malloc(size);
    memset(text, 'x', size);
    struct peri_store_value value = {.kind = PERI_STORE_BYTES, .bytes = text, .len = size};
    uint64_t count = 0;
    set(store, "a", integer(1));
    assert_int_equal(peri_store_set(store, KEY("a"), &value, 0, PERI_STORE_ALWAYS),
                     PERI_STORE_TOO_BIG);
    assert_int_equal(peri_store_push(store, KEY("b"), text, size, true, &count),
                     PERI_STORE_TOO_BIG);
    assert_string_equal(get(store, "a"), "1");
    free(text);
}

static void a_snapshot_brings_everything_back(void **state)
{
    struct peri_store *store = *state;
    struct peri_store_value value = integer(7);
    struct peri_buf out = {0};
    uint64_t ms = 0;
    set(store, "text", bytes("burger"));
    peri_store_set(store, KEY("brief"), &value, 100000, PERI_STORE_ALWAYS);
    push(store, "a", false, 1);
    push(store, "b", false, 2);
    peri_store_snapshot(store, &out);
    peri_store_clear(store);
    set(store, "text", bytes("other"));
    assert_int_equal(peri_store_restore(store, out.data, out.len), 0);
    assert_string_equal(get(store, "text"), "burger");
    assert_string_equal(get(store, "brief"), "7");
    peri_store_ttl(store, KEY("brief"), &ms);
    assert_in_range(ms, 1, 100000);
    pop(store, true, "a");
    pop(store, true, "b");
    peri_buf_deinit(&out);
}

static void a_broken_snapshot_changes_nothing(void **state)
{
    struct peri_store *store = *state;
    struct peri_buf out = {0};
    set(store, "a", bytes("burger"));
    peri_store_snapshot(store, &out);
    peri_store_clear(store);
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(peri_store_restore(store, out.data, len), UV_EINVAL);
    for (size_t at = 0; at < out.len; at++) {
        out.data[at] ^= 1;
        assert_int_equal(peri_store_restore(store, out.data, out.len), UV_EINVAL);
        out.data[at] ^= 1;
    }
    assert_string_equal(get(store, "a"), "-");
    peri_buf_deinit(&out);
}

#define THREADS 8
#define ROUNDS 20000

static void *hammer(void *arg)
{
    struct peri_store *store = arg;
    struct peri_store_value zero = integer(0);
    for (int i = 0; i < ROUNDS; i++) {
        struct peri_store_value one = integer(1);
        uint64_t count = 0;
        char key[16];
        struct peri_buf out = {0};
        peri_store_incr(store, KEY("sum"), &one, &zero, 0);
        snprintf(key, sizeof(key), "%d", i % 300);
        set(store, key, bytes("something that has to be copied"));
        struct peri_store_value seen;
        peri_store_get(store, key, strlen(key), &seen, &out);
        peri_store_push(store, KEY("queue"), "x", 1, false, &count);
        peri_store_pop(store, KEY("queue"), true, &out);
        peri_buf_deinit(&out);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    pthread_t threads[THREADS];
    char expected[32];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, *state), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    snprintf(expected, sizeof(expected), "%d", THREADS * ROUNDS);
    assert_string_equal(get(*state, "sum"), expected);
    uint64_t count = 1;
    peri_store_length(*state, KEY("queue"), &count);
    assert_int_equal(count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_are_put_replaced_and_removed),
        TEST(conditions_hold_or_refuse),
        TEST(numbers_add_up_and_never_wrap_round),
        TEST(what_has_expired_is_absent),
        TEST(lists_have_two_ends),
        TEST(beyond_the_limit_the_oldest_go),
        TEST(what_is_larger_than_the_store_is_refused),
        TEST(a_snapshot_brings_everything_back),
        TEST(a_broken_snapshot_changes_nothing),
        TEST(threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
