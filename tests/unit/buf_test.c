/* Growable bytes and the intrusive list. */
#include "buf.h"

#include "list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define holds(buf, text)                                                                           \
    do {                                                                                           \
        assert_int_equal((buf).len, sizeof(text) - 1);                                             \
        assert_memory_equal((buf).data, (text), sizeof(text) - 1);                                 \
    } while (0)

static void a_zeroed_struct_is_an_empty_buffer(void **state)
{
    (void) state;
    struct peri_buf buf = {0};
    peri_buf_add(&buf, NULL, 0);
    peri_buf_add_lit(&buf, "");
    assert_null(buf.data);
    peri_buf_reset(&buf, 0);
    peri_buf_consume(&buf, 0);
    peri_buf_deinit(&buf);
    peri_buf_deinit(&buf);
    assert_int_equal(buf.cap, 0);
}

static void bytes_of_every_kind_are_appended(void **state)
{
    (void) state;
    struct peri_buf buf = {0};
    peri_buf_add(&buf, "a\0b", 3);
    peri_buf_add_byte(&buf, '\n');
    peri_buf_add_str(&buf, "str");
    peri_buf_add_lit(&buf, "l\0t");
    peri_buf_addf(&buf, "%s-%d", "x", 7);
    peri_buf_addf(&buf, "%s", "");
    holds(buf, "a\0b\nstrl\0tx-7");
    peri_buf_deinit(&buf);
}

static void integers_have_their_shortest_form(void **state)
{
    (void) state;
    static const int64_t values[] = {0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        struct peri_buf buf = {0};
        char expected[32];
        peri_buf_add_int(&buf, values[i]);
        peri_buf_add_byte(&buf, '\0');
        snprintf(expected, sizeof(expected), "%lld", (long long) values[i]);
        assert_string_equal(buf.data, expected);
        peri_buf_deinit(&buf);
    }
}

static void growing_keeps_what_is_there(void **state)
{
    (void) state;
    struct peri_buf buf = {0};
    for (int i = 0; i < 100000; i++)
        peri_buf_add_byte(&buf, (char) (i % 251));
    assert_int_equal(buf.len, 100000);
    assert_true(buf.cap >= buf.len && buf.cap < 2 * buf.len);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf.data[i], (char) (i % 251));
    peri_buf_deinit(&buf);
}

static void room_that_was_reserved_can_be_written(void **state)
{
    (void) state;
    for (size_t len = 1; len < 2000; len += 37) {
        struct peri_buf buf = {0};
        peri_buf_add_lit(&buf, "x");
        char *to = peri_buf_reserve(&buf, len);
        assert_ptr_equal(to, buf.data + 1);
        memset(to, 'y', len);
        assert_true(buf.cap - buf.len >= len);
        assert_int_equal(buf.len, 1);
        peri_buf_deinit(&buf);
    }
}

static void formatted_text_fits_where_it_needs_all_the_room(void **state)
{
    (void) state;
    for (int len = 250; len < 260; len++) {
        struct peri_buf buf = {0};
        peri_buf_addf(&buf, "%*s", len, "x");
        assert_int_equal(buf.len, len);
        assert_int_equal(buf.data[len - 1], 'x');
        peri_buf_deinit(&buf);
    }
}

static void bytes_are_taken_from_the_front(void **state)
{
    (void) state;
    struct peri_buf buf = {0};
    peri_buf_add_lit(&buf, "abcdef");
    peri_buf_consume(&buf, 2);
    holds(buf, "cdef");
    peri_buf_consume(&buf, 0);
    holds(buf, "cdef");
    peri_buf_consume(&buf, 4);
    assert_int_equal(buf.len, 0);
    peri_buf_add_lit(&buf, "x");
    holds(buf, "x");
    peri_buf_deinit(&buf);
}

static void a_reset_keeps_memory_up_to_a_mark(void **state)
{
    (void) state;
    struct peri_buf buf = {0};
    peri_buf_add_lit(&buf, "x");
    size_t cap = buf.cap;
    peri_buf_reset(&buf, cap);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.cap, cap);
    peri_buf_add_lit(&buf, "x");
    peri_buf_reset(&buf, cap - 1);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.cap, 0);
    assert_null(buf.data);
}

struct item {
    int number;
    struct peri_list link;
};

static int number_of(const struct peri_list *link)
{
    return peri_container_of(link, struct item, link)->number;
}

static void a_list_keeps_its_order(void **state)
{
    (void) state;
    struct peri_list head;
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    peri_list_init(&head);
    assert_true(peri_list_empty(&head));
    assert_null(peri_list_first(&head));
    for (int i = 0; i < 3; i++)
        peri_list_append(&head, &items[i].link);
    peri_list_remove(&items[1].link);
    peri_list_remove(&items[1].link); /* twice is harmless */
    assert_int_equal(number_of(peri_list_first(&head)), 0);
    peri_list_remove(peri_list_first(&head));
    assert_int_equal(number_of(peri_list_first(&head)), 2);
    peri_list_append(&head, &items[0].link);
    assert_int_equal(number_of(peri_list_first(&head)), 2);
    assert_int_equal(number_of(head.prev), 0);
}

static void taking_a_list_leaves_it_empty(void **state)
{
    (void) state;
    struct peri_list from;
    struct peri_list to;
    struct item items[2] = {{.number = 0}, {.number = 1}};
    peri_list_init(&from);
    peri_list_init(&to);
    peri_list_take(&to, &from);
    assert_true(peri_list_empty(&to));
    for (int i = 0; i < 2; i++)
        peri_list_append(&from, &items[i].link);
    peri_list_take(&to, &from);
    assert_true(peri_list_empty(&from));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(number_of(peri_list_first(&to)), i);
        peri_list_remove(peri_list_first(&to));
    }
    assert_true(peri_list_empty(&to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_struct_is_an_empty_buffer),
        cmocka_unit_test(bytes_of_every_kind_are_appended),
        cmocka_unit_test(integers_have_their_shortest_form),
        cmocka_unit_test(growing_keeps_what_is_there),
        cmocka_unit_test(room_that_was_reserved_can_be_written),
        cmocka_unit_test(formatted_text_fits_where_it_needs_all_the_room),
        cmocka_unit_test(bytes_are_taken_from_the_front),
        cmocka_unit_test(a_reset_keeps_memory_up_to_a_mark),
        cmocka_unit_test(a_list_keeps_its_order),
        cmocka_unit_test(taking_a_list_leaves_it_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
