/* The checks of a complete head by themselves: what http.c hands over is described by offsets here,
 * so that a parser that read the bytes differently is seen. http_test.c covers whole messages. */
#include "request.h"

#include <llhttp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_HEADERS 4

struct head {
    struct peri_request request;
    struct peri_header headers[MAX_HEADERS];
    char *bytes;
};

/* The span of the first `text` in the head. */
static struct peri_span span_of(const char *head, const char *text)
{
    const char *at = strstr(head, text);
    assert_non_null(at);
    return (struct peri_span){(uint32_t) (at - head), (uint32_t) strlen(text)};
}

/* A head in a block of exactly its size, read as a parser that sees `names` and `values` would. */
static void make(struct head *made, const char *text, const char *target,
                 const char *const (*fields)[2], unsigned count)
{
    *made = (struct head){0};
    size_t len = strlen(text);
    made->bytes = malloc(len);
    assert_non_null(made->bytes);
    memcpy(made->bytes, text, len);
    made->request.base = made->bytes;
    made->request.method = HTTP_GET;
    made->request.headers = made->headers;
    made->request.target = span_of(text, target);
    made->request.header_count = (uint16_t) count;
    for (unsigned i = 0; i < count; i++) {
        made->headers[i].name = span_of(text, fields[i][0]);
        if (fields[i][1][0] != '\0')
            made->headers[i].value = span_of(text, fields[i][1]);
    }
}

static int check(const char *text, const char *target, const char *const (*fields)[2],
                 unsigned count)
{
    struct head made;
    make(&made, text, target, fields, count);
    int status = peri_request_check(&made.request);
    if (status == 0)
        assert_int_equal(made.request.head_len, strlen(text));
    free(made.bytes);
    return status;
}

#define CHECK(text, target, ...)                                                                   \
    check((text), (target), (const char *const[][2]){__VA_ARGS__},                                 \
          sizeof((const char *const[][2]){__VA_ARGS__}) / sizeof(char *[2]))

static void a_reading_that_covers_every_byte_is_accepted(void **state)
{
    (void) state;
    assert_int_equal(CHECK("GET /t HTTP/1.1\r\nHost: h\r\nXy:\r\nZw: \r\n\r\n", "/t", {"Host", "h"},
                           {"Xy", ""}, {"Zw", ""}),
                     0);
    assert_int_equal(CHECK("\r\nGET /t HTTP/1.1\r\nHost:h \t\r\n\r\n", "/t", {"Host", "h"}), 0);
}

static void a_line_that_the_parser_skipped_is_refused(void **state)
{
    (void) state;
    assert_int_equal(CHECK("GET /t HTTP/1.1\r\nHost: h\r\nXy: z\r\n\r\n", "/t", {"Host", "h"}),
                     400);
    assert_int_equal(CHECK("GET /t HTTP/1.1\r\nXy: z\r\nHost: h\r\n\r\n", "/t", {"Host", "h"}),
                     400);
    assert_int_equal(CHECK("GET /t HTTP/1.1\r\n \r\nHost: h\r\n\r\n", "/t", {"Host", "h"}), 400);
}

static void a_part_that_the_parser_cut_is_refused(void **state)
{
    (void) state;
    assert_int_equal(CHECK("GET /t HTTP/1.1\r\nHost: hi\r\n\r\n", "/t", {"Host", "h"}), 400);
    assert_int_equal(CHECK("GET /t HTTP/1.1\r\nHost: xh\r\n\r\n", "/t", {"Host", "h\r\n"}), 400);
    assert_int_equal(CHECK("GET /t HTTP/1.1\r\nHost : h\r\n\r\n", "/t", {"Host", "h"}), 400);
    assert_int_equal(CHECK("GET /tu HTTP/1.1\r\nHost: h\r\n\r\n", "/t", {"Host", "h"}), 400);
    assert_int_equal(CHECK("GET x/t HTTP/1.1\r\nHost: h\r\n\r\n", "/t", {"Host", "h"}), 400);
    assert_int_equal(CHECK("POST /t HTTP/1.1\r\nHost: h\r\n\r\n", "/t", {"Host", "h"}), 400);
    assert_int_equal(CHECK("GET /t HTTP/1.1\r\nHost: h\r\n\rx", "/t", {"Host", "h"}), 400);
}

static void a_framing_that_the_parser_missed_is_refused(void **state)
{
    (void) state;
    static const char text[] = "GET /t HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const char *const fields[][2] = {{"Host", "h"}, {"Transfer-Encoding", "chunked"}};
    assert_int_equal(check(text, "/t", fields, 2), 400); /* without PERI_REQUEST_CHUNKED */

    struct head made;
    make(&made, text, "/t", fields, 2);
    made.request.flags = PERI_REQUEST_CHUNKED;
    assert_int_equal(peri_request_check(&made.request), 0);
    made.request.flags = PERI_REQUEST_CHUNKED | PERI_REQUEST_HAS_LENGTH;
    assert_int_equal(peri_request_check(&made.request), 400);
    made.request.flags = PERI_REQUEST_CHUNKED | PERI_REQUEST_HTTP_1_0;
    assert_int_equal(peri_request_check(&made.request), 400);
    free(made.bytes);

    static const char *const host[][2] = {{"Host", "h"}};
    make(&made, "GET /t HTTP/1.1\r\nHost: h\r\n\r\n", "/t", host, 1);
    made.request.flags = PERI_REQUEST_CHUNKED;
    assert_int_equal(peri_request_check(&made.request), 400);
    free(made.bytes);
}

/* Parts are offsets: a head that has moved is the same head. */
static void a_head_can_be_moved(void **state)
{
    (void) state;
    static const char text[] = "GET http://a/p?q HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char *const fields[][2] = {{"Host", "h\r"}};
    struct head made;
    make(&made, text, "http://a/p?q", fields, 1);
    made.headers[0].value.len = 1;
    assert_int_equal(peri_request_check(&made.request), 0);
    char *moved = malloc(made.request.head_len);
    assert_non_null(moved);
    memcpy(moved, made.bytes, made.request.head_len);
    free(made.bytes);
    made.request.base = moved;
    assert_int_equal(made.request.path.len, 2);
    assert_memory_equal(peri_request_at(&made.request, made.request.path), "/p", 2);
    assert_int_equal(made.request.query.len, 1);
    assert_memory_equal(peri_request_at(&made.request, made.request.query), "q", 1);
    int host = peri_request_find(&made.request, 0, "host", 4);
    assert_int_equal(host, 0);
    assert_memory_equal(peri_request_at(&made.request, made.headers[host].value), "a", 1);
    free(moved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reading_that_covers_every_byte_is_accepted),
        cmocka_unit_test(a_line_that_the_parser_skipped_is_refused),
        cmocka_unit_test(a_part_that_the_parser_cut_is_refused),
        cmocka_unit_test(a_framing_that_the_parser_missed_is_refused),
        cmocka_unit_test(a_head_can_be_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
