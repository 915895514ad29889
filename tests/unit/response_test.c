/* Response heads, their cache across a second, and what may stand in a header. */
#include "response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* A head as text, valid until the next one. */
static const char *head(struct peri_head_cache *cache, uint64_t now_ms, unsigned status,
                        const char *type)
{
    static struct peri_buf out;
    peri_buf_reset(&out, 0);
    size_t len = strlen(type);
    char *block = malloc(len > 0 ? len : 1);
    assert_non_null(block);
    memcpy(block, type, len);
    peri_head_begin(cache, now_ms, &out, status, block, len);
    free(block);
    peri_buf_add_byte(&out, '\0');
    return out.data;
}

/* Compares a head with what it must be, given the date that the cache then holds. */
static void writes(struct peri_head_cache *cache, uint64_t now_ms, unsigned status,
                   const char *phrase, const char *type)
{
    const char *made = head(cache, now_ms, status, type);
    char text[1024];
    int len =
        snprintf(text, sizeof(text), "HTTP/1.1 %u %s\r\ndate: %s\r\n", status, phrase, cache->date);
    if (*type != '\0')
        snprintf(text + len, sizeof(text) - (size_t) len, "content-type: %s\r\n", type);
    assert_string_equal(made, text);
}

static void a_head_has_status_date_and_type(void **state)
{
    (void) state;
    struct peri_head_cache cache = {0};
    for (int round = 0; round < 3; round++) { /* made, then from the cache */
        writes(&cache, 5, 200, "OK", "text/plain");
        writes(&cache, 5, 204, "No Content", "");
        writes(&cache, 5, 599, "", "a");
    }
}

static void a_head_is_appended(void **state)
{
    (void) state;
    struct peri_head_cache cache = {0};
    struct peri_buf out = {0};
    for (int round = 0; round < 2; round++) {
        out.len = 0;
        peri_buf_add_lit(&out, "before ");
        peri_head_begin(&cache, 5, &out, 200, "a", 1);
        peri_buf_add_byte(&out, '\0');
        assert_memory_equal(out.data, "before ", 7);
        assert_string_equal(out.data + 7, head(&cache, 5, 200, "a"));
    }
    peri_buf_deinit(&out);
}

/* More kinds of heads than the cache has entries, asked for again and again. */
static void heads_that_differ_never_stand_in_for_each_other(void **state)
{
    (void) state;
    static const struct {
        unsigned status;
        const char *phrase;
        const char *type;
    } heads[] = {
        {200, "OK", "application/json"},
        {200, "OK", "text/html"},
        {200, "OK", "text/html2"},
        {200, "OK", "text/htmm"},
        {200, "OK", ""},
        {201, "Created", "text/html"},
        {201, "Created", ""},
        {404, "Not Found", ""},
        {404, "Not Found", "a"},
        {404, "Not Found", "b"},
        {500, "Internal Server Error", "text/html"},
        {200, "OK", "html"},
    };
    const size_t count = sizeof(heads) / sizeof(*heads);
    struct peri_head_cache cache = {0};
    for (size_t i = 0; i < 1000; i++) {
        size_t at = i * i % 7 * (i % 11) % count;
        writes(&cache, 1, heads[at].status, heads[at].phrase, heads[at].type);
    }
}

static void a_type_that_does_not_fit_the_cache_is_written_in_full(void **state)
{
    (void) state;
    struct peri_head_cache cache = {0};
    char type[400];
    for (size_t len = 80; len < sizeof(type) - 1; len++) {
        memset(type, 'x', len);
        type[len] = '\0';
        for (int round = 0; round < 2; round++)
            writes(&cache, 1, 200, "OK", type);
    }
}

static void the_date_is_that_of_now(void **state)
{
    (void) state;
    struct peri_head_cache cache = {0};
    time_t before = time(NULL);
    head(&cache, 0, 200, "");
    time_t after = time(NULL);
    bool matches = false;
    for (time_t now = before; now <= after; now++) {
        struct tm utc;
        char date[64];
        gmtime_r(&now, &utc);
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
        matches = matches || strcmp(date, cache.date) == 0;
    }
    assert_true(matches);
    assert_int_equal(strlen(cache.date), 29);
}

/* The loop's clock says when the second is over; until then the date is not looked up again. */
static void the_cache_lasts_until_the_second_is_over(void **state)
{
    (void) state;
    struct peri_head_cache cache = {0};
    head(&cache, 100000, 200, "a");
    assert_in_range(cache.next_ms, 100001, 101000);
    memset(cache.date, 'D', 5); /* to see where it comes from */
    uint64_t next_ms = cache.next_ms;
    assert_non_null(strstr(head(&cache, next_ms - 1, 201, "a"), "date: DDDDD"));
    assert_null(strstr(head(&cache, next_ms - 1, 200, "a"), "DDDDD")); /* ready made */

    assert_null(strstr(head(&cache, next_ms, 201, "a"), "DDDDD"));
    writes(&cache, next_ms, 200, "OK", "a");
    assert_true(cache.next_ms > next_ms);
}

static void statuses_have_their_phrases(void **state)
{
    (void) state;
    assert_string_equal(peri_status_text(200), "OK");
    assert_string_equal(peri_status_text(418), "I'm a Teapot");
    assert_string_equal(peri_status_text(511), "Network Authentication Required");
    assert_string_equal(peri_status_text(299), "");
    assert_string_equal(peri_status_text(0), "");
}

static void some_statuses_have_no_body(void **state)
{
    (void) state;
    for (unsigned status = 100; status < 600; status++)
        assert_int_equal(peri_status_has_no_body(status),
                         status < 200 || status == 204 || status == 304);
}

static void names_are_tokens(void **state)
{
    (void) state;
    for (int c = 0; c < 256; c++) {
        char name[] = {'a', (char) c, 'b'};
        bool token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c > 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        assert_int_equal(peri_header_name_is_sound(name, 3), token);
        assert_int_equal(peri_header_name_is_sound(name + 1, 1), token);
    }
    assert_false(peri_header_name_is_sound("", 0));
}

static void values_hold_no_control_character_but_tab(void **state)
{
    (void) state;
    for (int c = 0; c < 256; c++) {
        char value[] = {'a', (char) c, 'b'};
        bool sound = (c >= 32 && c != 127) || c == '\t';
        assert_int_equal(peri_header_value_is_sound(value, 3), sound);
        assert_int_equal(peri_header_value_is_sound(value + 1, 1), sound);
        assert_int_equal(peri_header_value_is_sound(value, 2), sound);
    }
    assert_true(peri_header_value_is_sound("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_status_date_and_type),
        cmocka_unit_test(a_head_is_appended),
        cmocka_unit_test(heads_that_differ_never_stand_in_for_each_other),
        cmocka_unit_test(a_type_that_does_not_fit_the_cache_is_written_in_full),
        cmocka_unit_test(the_date_is_that_of_now),
        cmocka_unit_test(the_cache_lasts_until_the_second_is_over),
        cmocka_unit_test(statuses_have_their_phrases),
        cmocka_unit_test(some_statuses_have_no_body),
        cmocka_unit_test(names_are_tokens),
        cmocka_unit_test(values_hold_no_control_character_but_tab),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
