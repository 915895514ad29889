/* HTTP/1.1 requests, fed whole, one byte at a time and cut in two at every place: the outcome must
 * be the same. Every feed gets a block of exactly its size, so that a sanitizer sees a read behind
 * it. */
#include "http.h"

#include "buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_HEADERS 100

static const struct peri_http_limits usual = {
    .max_head_bytes = 16384,
    .max_headers = MAX_HEADERS,
    .max_target_bytes = 8192,
    .max_chunk_ext_bytes = 1024,
};

/* One reading of one message. */
struct reading {
    struct peri_http http;
    struct peri_request request;
    struct peri_header headers[MAX_HEADERS];
    struct peri_buf body;
    char *head;      /* what request.base points at */
    int head_status; /* the answers of the events */
    size_t max_body;
    unsigned heads; /* how often the event came */
    size_t fed;
    enum peri_http_outcome outcome;
};

static int on_head(void *context)
{
    struct reading *reading = context;
    reading->heads++;
    return reading->head_status;
}

static int on_body(void *context, const char *bytes, size_t len)
{
    struct reading *reading = context;
    assert_int_equal(reading->heads, 1);
    assert_true(len > 0);
    if (reading->body.len + len > reading->max_body)
        return 413;
    peri_buf_add(&reading->body, bytes, len);
    return 0;
}

static const struct peri_http_events events = {.head = on_head, .body = on_body};

static struct reading *begin(const struct peri_http_limits *limits)
{
    struct reading *reading = calloc(1, sizeof(*reading));
    assert_non_null(reading);
    reading->max_body = SIZE_MAX;
    reading->request.headers = reading->headers;
    peri_http_init(&reading->http, &reading->request, limits, &events, reading);
    return reading;
}

static void end(struct reading *reading)
{
    peri_buf_deinit(&reading->body);
    free(reading->head);
    free(reading);
}

static char *copy_of(const char *bytes, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

/* Feeds text[fed..fed + len). While the head is incomplete the block holds all of the message so
 * far, at another place each time. Returns whether the message goes on. */
static bool feed(struct reading *reading, const char *text, size_t len)
{
    bool in_head = !reading->http.head_done;
    size_t before = in_head ? reading->fed : 0;
    char *block = copy_of(text + reading->fed - before, before + len);
    size_t consumed = 0;
    reading->outcome = peri_http_feed(&reading->http, in_head ? block : reading->head,
                                      block + before, len, &consumed);
    assert_true(consumed <= len);
    if (reading->outcome == PERI_HTTP_MORE)
        assert_int_equal(consumed, len);
    reading->fed += consumed;
    if (in_head && reading->http.head_done) { /* as the exchange does: the head moves, once */
        reading->head = copy_of(block, reading->request.head_len);
        reading->request.base = reading->head;
    }
    free(block);
    return reading->outcome == PERI_HTTP_MORE;
}

static void feed_in_steps(struct reading *reading, const char *text, size_t len, size_t step)
{
    while (reading->fed < len) {
        size_t piece = len - reading->fed < step ? len - reading->fed : step;
        if (!feed(reading, text, piece))
            break;
    }
}

static void describe_span(struct peri_buf *out, const struct peri_request *request,
                          struct peri_span span)
{
    if (span.len > 0)
        peri_buf_add(out, peri_request_at(request, span), span.len);
}

/* "GET /path ?query flags | Name=value | ... | body | rest N", or "more", or the status. */
static void describe(struct peri_buf *out, const struct reading *reading, size_t len)
{
    const struct peri_request *request = &reading->request;
    out->len = 0;
    if (reading->outcome == PERI_HTTP_BAD) {
        peri_buf_add_int(out, reading->http.status);
        peri_buf_add_byte(out, '\0');
        return;
    }
    if (reading->outcome == PERI_HTTP_MORE && !reading->http.head_done) {
        peri_buf_add(out, "more", 5);
        return;
    }
    assert_int_equal(reading->heads, 1);
    size_t method_len = 0;
    const char *method = peri_request_method(request, &method_len);
    peri_buf_add(out, method, method_len);
    peri_buf_add_byte(out, ' ');
    describe_span(out, request, request->path);
    if (request->query.len > 0)
        peri_buf_add_lit(out, " ?");
    describe_span(out, request, request->query);
    static const char *const flags[] = {"keep-alive", "1.0", "100", "upgrade", "chunked"};
    for (unsigned i = 0; i < 5; i++) {
        if (request->flags & (1U << i))
            peri_buf_addf(out, " %s", flags[i]);
    }
    if (request->flags & PERI_REQUEST_HAS_LENGTH)
        peri_buf_addf(out, " length=%llu", (unsigned long long) request->content_length);
    for (unsigned i = 0; i < request->header_count; i++) {
        peri_buf_add_lit(out, " | ");
        describe_span(out, request, request->headers[i].name);
        peri_buf_add_byte(out, '=');
        describe_span(out, request, request->headers[i].value);
    }
    peri_buf_add_lit(out, " | ");
    peri_buf_add(out, reading->body.data, reading->body.len);
    if (reading->outcome == PERI_HTTP_MORE)
        peri_buf_add_lit(out, " | more");
    else if (reading->fed < len)
        peri_buf_addf(out, " | rest %zu", len - reading->fed);
    peri_buf_add_byte(out, '\0');
}

/* Reads the text in every way that this file knows and returns what came of it. */
static const char *read_with(const struct peri_http_limits *limits, const char *text, size_t len)
{
    static struct peri_buf whole;
    struct peri_buf pieces = {0};
    struct reading *reading = begin(limits);
    feed(reading, text, len);
    describe(&whole, reading, len);
    end(reading);

    reading = begin(limits);
    feed_in_steps(reading, text, len, 1);
    describe(&pieces, reading, len);
    assert_string_equal(pieces.data, whole.data);
    end(reading);

    for (size_t cut = 1; cut < len && len < 512; cut++) {
        reading = begin(limits);
        if (feed(reading, text, cut))
            feed(reading, text, len - cut);
        describe(&pieces, reading, len);
        assert_string_equal(pieces.data, whole.data);
        end(reading);
    }
    peri_buf_deinit(&pieces);
    return whole.data;
}

#define read_literal(text) read_with(&usual, (text), sizeof(text) - 1)
#define reads(text, outcome) assert_string_equal(read_literal(text), outcome)
#define refuses(status, text) assert_string_equal(read_literal(text), #status)

#define GET "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n"
#define HOST "Host: h\r\n"

/* --- heads -------------------------------------------------------------------------------------
 */

static void reads_the_parts_of_a_head(void **state)
{
    (void) state;
    reads(GET HOST "\r\n", "GET / keep-alive | Host=h | ");
    reads("GET /a/b?x=1&y=%20 HTTP/1.1\r\n" HOST "Accept: */*\r\n\r\n",
          "GET /a/b ?x=1&y=%20 keep-alive | Host=h | Accept=*/* | ");
    reads("DELETE /?a?b HTTP/1.1\r\nhOsT: h:80\r\n\r\n", "DELETE / ?a?b keep-alive | hOsT=h:80 | ");
    reads("GET /? HTTP/1.1\r\n" HOST "\r\n", "GET / keep-alive | Host=h | ");
    reads("PATCH //a//./.. HTTP/1.1\r\n" HOST "\r\n", "PATCH //a//./.. keep-alive | Host=h | ");
}

static void empty_lines_before_a_request_are_ignored(void **state)
{
    (void) state;
    reads("\r\n\r\n" GET HOST "\r\n", "GET / keep-alive | Host=h | ");
    refuses(400, "\n" GET HOST "\r\n");
    refuses(400, "\r" GET HOST "\r\n");
    refuses(400, " " GET HOST "\r\n");
}

static void an_incomplete_head_waits_for_more(void **state)
{
    (void) state;
    static const char text[] = GET HOST "Content-Length: 1\r\n\r\n";
    for (size_t len = 1; len < sizeof(text) - 1; len++)
        assert_string_equal(read_with(&usual, text, len), "more");
    assert_string_equal(read_with(&usual, text, sizeof(text) - 1),
                        "GET / keep-alive length=1 | Host=h | Content-Length=1 |  | more");
}

static void values_lose_the_blanks_around_them_and_only_those(void **state)
{
    (void) state;
    reads(GET HOST "A: \t x y \t \r\n\r\n", "GET / keep-alive | Host=h | A=x y | ");
    reads(GET HOST "A:x\r\n\r\n", "GET / keep-alive | Host=h | A=x | ");
    reads(GET HOST "A: \xC3\xA9\xFF\r\n\r\n", "GET / keep-alive | Host=h | A=\xC3\xA9\xFF | ");
}

static void values_may_be_empty(void **state)
{
    (void) state;
    reads(GET HOST "A:\r\nB: \t \r\nC: c\r\nD:\r\n\r\n",
          "GET / keep-alive | Host=h | A= | B= | C=c | D= | ");
    reads(GET "Host:\r\n\r\n", "GET / keep-alive | Host= | ");
}

static void repeated_headers_are_kept_in_order(void **state)
{
    (void) state;
    reads(GET HOST "A: 1\r\na: 2\r\nA: 3\r\n\r\n",
          "GET / keep-alive | Host=h | A=1 | a=2 | A=3 | ");
}

static void headers_are_found_by_name_in_any_case(void **state)
{
    (void) state;
    struct reading *reading = begin(&usual);
    static const char text[] = GET HOST "Accept: 1\r\nACCEPT: 2\r\nAccept-Language: 3\r\n\r\n";
    feed(reading, text, sizeof(text) - 1);
    assert_int_equal(reading->outcome, PERI_HTTP_END);
    assert_int_equal(peri_request_find(&reading->request, 0, "accept", 6), 1);
    assert_int_equal(peri_request_find(&reading->request, 2, "accept", 6), 2);
    assert_int_equal(peri_request_find(&reading->request, 3, "accept", 6), -1);
    assert_int_equal(peri_request_find(&reading->request, 0, "accep", 5), -1);
    end(reading);
}

static void folded_headers_are_refused(void **state)
{
    (void) state;
    refuses(400, GET HOST "A: x\r\n y\r\n\r\n");
    refuses(400, GET HOST "A: x\r\n\ty\r\n\r\n");
    refuses(400, GET HOST "A:\r\n y\r\n\r\n");
    refuses(400, GET HOST "A: x\r\n \r\n\r\n");
    refuses(400, GET HOST "A: x\r\n \r\nB: y\r\n\r\n");
    refuses(400, GET " A: x\r\n" HOST "\r\n");
    refuses(400, POST HOST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Content-Length: 1\r\n 0\r\n\r\n0123456789");
}

static void bare_cr_and_lf_are_refused(void **state)
{
    (void) state;
    refuses(400, "GET / HTTP/1.1\n" HOST "\r\n");
    refuses(400, GET "Host: h\n\r\n");
    refuses(400, GET HOST "\n");
    refuses(400, GET HOST "A: x\ry\r\n\r\n");
    refuses(400, GET HOST "A: x\ny\r\n\r\n");
    refuses(400, GET HOST "A: x\r\r\n\r\n");
    refuses(400, "GET / HTTP/1.1\r" HOST "\r\n");
    refuses(400, GET HOST "\rA: x\r\n\r\n");
    refuses(400, GET HOST "A\r: x\r\n\r\n");
    refuses(400, GET HOST "A:\rx\r\n\r\n");
    refuses(400, GET HOST "A:\nx\r\n\r\n");
    refuses(400, GET HOST "A:\n x\r\n\r\n");
    refuses(400, GET HOST "A:\r x\r\n\r\n");
}

static void nul_and_other_controls_are_refused(void **state)
{
    (void) state;
    refuses(400, "GET /\0 HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "G\0T / HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, GET HOST "A: x\0y\r\n\r\n");
    refuses(400, GET HOST "A\0: x\r\n\r\n");
    refuses(400, GET "Host: h\0\r\n\r\n");
    refuses(400, GET HOST "A: \0\r\n\r\n");
    refuses(400, GET HOST "A: x\x01y\r\n\r\n");
    refuses(400, GET HOST "A: x\x7Fy\r\n\r\n");
    refuses(400, "GET /\x7F HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET /a\tb HTTP/1.1\r\n" HOST "\r\n");
}

static void names_must_be_tokens_right_before_the_colon(void **state)
{
    (void) state;
    refuses(400, GET HOST "A : x\r\n\r\n");
    refuses(400, GET HOST "A\t: x\r\n\r\n");
    refuses(400, GET HOST ": x\r\n\r\n");
    refuses(400, GET HOST "A\r\n\r\n");
    refuses(400, GET HOST "A(: x\r\n\r\n");
    refuses(400, GET HOST "A B: x\r\n\r\n");
    refuses(400, GET HOST "\xC3\xA9: x\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n");
    reads(GET HOST "!#$%&'*+-.^_`|~09: x\r\n\r\n",
          "GET / keep-alive | Host=h | !#$%&'*+-.^_`|~09=x | ");
}

static void request_lines_have_exactly_one_form(void **state)
{
    (void) state;
    refuses(400, "GET  / HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET /  HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET / HTTP/1.1 \r\n" HOST "\r\n");
    refuses(400, "GET\t/ HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET /\tHTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET / http/1.1\r\n" HOST "\r\n");
    refuses(400, "GET / HTTP/01.1\r\n" HOST "\r\n");
    refuses(400, "GET / HTTP/1.10\r\n" HOST "\r\n");
    refuses(400, "GET / HTTP/1\r\n" HOST "\r\n");
    refuses(400, "GET / RTSP/1.0\r\n" HOST "\r\n");
    refuses(400, "SOURCE / ICE/1.0\r\n" HOST "\r\n");
    refuses(400, "GET HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET / HTTP/1.1\r\n\r\n");
    refuses(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

static void versions_without_a_head_of_ours_are_refused(void **state)
{
    (void) state;
    refuses(400, "GET /\r\n\r\n"); /* HTTP/0.9: the head is shorter than a version */
    refuses(400, "GET /\r\n" HOST "\r\n");
    refuses(505, "GET / HTTP/0.9\r\n" HOST "\r\n");
    refuses(505, "GET / HTTP/1.2\r\n" HOST "\r\n");
    refuses(505, "GET / HTTP/2.0\r\n" HOST "\r\n");
    refuses(505, "GET / HTTP/3.0\r\n" HOST "\r\n");
    refuses(505, "QUERY / HTTP/2.0\r\n" HOST "\r\n");
    refuses(400, "GET / HTTP/x.0\r\n" HOST "\r\n");
}

static void methods_that_nobody_knows_are_read_like_others(void **state)
{
    (void) state;
    reads("QUERY /a?b HTTP/1.1\r\n" HOST "\r\n", "QUERY /a ?b keep-alive | Host=h | ");
    reads("get / HTTP/1.1\r\n" HOST "\r\n", "get / keep-alive | Host=h | ");
    reads("GETS / HTTP/1.1\r\n" HOST "\r\n", "GETS / keep-alive | Host=h | ");
    reads("\r\nG HTTP://x/ HTTP/1.1\r\n" HOST "\r\n", "G / keep-alive | Host=x | ");
    reads("M!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab",
          "M!#$%&'*+-.^_`|~09 / keep-alive length=2 | Host=h | Content-Length=2 | ab");
    /* Names of other protocols, which llhttp knows. */
    reads("DESCRIBE / HTTP/1.1\r\n" HOST "\r\n", "DESCRIBE / keep-alive | Host=h | ");
    refuses(400, "G\xC3\x84T / HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "QUE\"RY / HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "QUERY  / HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "QUERY / HTTP/1.1\r\n\r\n"); /* no Host */
    refuses(400, "A123456789012345678901234567890123456789012345678901234567890123456789 / "
                 "HTTP/1.1\r\n" HOST "\r\n");
}

static void targets_are_origin_absolute_or_asterisk(void **state)
{
    (void) state;
    reads("GET http://x:8/a?b HTTP/1.1\r\n" HOST "\r\n", "GET /a ?b keep-alive | Host=x:8 | ");
    reads("GET HTTP://x HTTP/1.1\r\n" HOST "\r\n", "GET  keep-alive | Host=x | ");
    reads("GET https://x?q HTTP/1.1\r\n" HOST "\r\n", "GET  ?q keep-alive | Host=x | ");
    reads("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * keep-alive | Host=h | ");
    refuses(400, "GET * HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "OPTIONS *a HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET a HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET ?a HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET http:// HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET http:///a HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET http://u@x/ HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET http://x,y/ HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET ftp://x/ HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "CONNECT x:80 HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "CONNECT / HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET /?a#b HTTP/1.1\r\n" HOST "\r\n");
    refuses(400, "GET /\xC3\xA9 HTTP/1.1\r\n" HOST "\r\n");
}

static void exactly_one_sound_host_is_required(void **state)
{
    (void) state;
    refuses(400, GET "\r\n");
    refuses(400, GET HOST HOST "\r\n");
    refuses(400, GET HOST "A: x\r\nhost: i\r\n\r\n");
    refuses(400, GET "Host: a b\r\n\r\n");
    refuses(400, GET "Host: a/b\r\n\r\n");
    refuses(400, GET "Host: u@a\r\n\r\n");
    refuses(400, GET "Host: a,b\r\n\r\n");
    refuses(400, GET "Host: a?b\r\n\r\n");
    refuses(400, GET "Host: \"a\"\r\n\r\n");
    refuses(400, GET "Host: \xC3\xA9\r\n\r\n");
    refuses(400, "GET http://x/ HTTP/1.1\r\n\r\n");
    refuses(400, "GET / HTTP/1.0\r\n" HOST HOST "\r\n");
    reads(GET "Host: [::1]:80\r\n\r\n", "GET / keep-alive | Host=[::1]:80 | ");
}

static void http_1_0_needs_no_host_and_closes_unless_asked(void **state)
{
    (void) state;
    reads("GET / HTTP/1.0\r\n\r\n", "GET / 1.0 | ");
    reads("GET / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n",
          "GET / keep-alive 1.0 | Host=h | Connection=keep-alive | ");
    reads("GET http://x/a HTTP/1.0\r\n\r\n", "GET /a 1.0 | ");
}

static void close_ends_the_connection_in_any_list(void **state)
{
    (void) state;
    reads(GET HOST "Connection: close\r\n\r\n", "GET / | Host=h | Connection=close | ");
    reads(GET HOST "Connection: foo, CLOSE\r\n\r\n", "GET / | Host=h | Connection=foo, CLOSE | ");
    reads(GET HOST "Connection: close, keep-alive\r\n\r\n",
          "GET / | Host=h | Connection=close, keep-alive | ");
    reads(GET HOST "Connection: closed\r\n\r\n",
          "GET / keep-alive | Host=h | Connection=closed | ");
    reads("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
          "GET / 1.0 | Connection=keep-alive, close | ");
}

static void an_upgrade_is_only_an_offer(void **state)
{
    (void) state;
    reads(GET HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nabc",
          "GET / keep-alive upgrade | Host=h | Connection=Upgrade | Upgrade=websocket |  | rest 3");
    reads(POST HOST "Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhi",
          "POST / keep-alive upgrade length=2 | Host=h | Connection=upgrade | Upgrade=x | "
          "Content-Length=2 | hi");
    reads(GET HOST "Upgrade: x\r\n\r\n", "GET / keep-alive | Host=h | Upgrade=x | ");
}

/* RFC 9110: 10.1.1 and 7.8. */
static void http_1_0_can_neither_expect_nor_upgrade(void **state)
{
    (void) state;
    reads("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
          "POST / 1.0 length=1 | Expect=100-continue | Content-Length=1 | x");
    reads("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
          "GET / 1.0 | Connection=upgrade | Upgrade=x | ");
}

static void only_100_continue_can_be_expected(void **state)
{
    (void) state;
    reads(POST HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
          "POST / keep-alive 100 length=1 | Host=h | Expect=100-Continue | Content-Length=1 | x");
    refuses(417, POST HOST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx");
    refuses(417, POST HOST "Expect: 100-continue, x\r\n\r\n");
}

/* --- bodies ------------------------------------------------------------------------------------
 */

static void reads_a_sized_body(void **state)
{
    (void) state;
    reads(POST HOST "Content-Length: 5\r\n\r\nhello",
          "POST / keep-alive length=5 | Host=h | Content-Length=5 | hello");
    reads(POST HOST "Content-Length: 005\r\n\r\nhello",
          "POST / keep-alive length=5 | Host=h | Content-Length=005 | hello");
    reads(POST HOST "Content-Length: 0\r\n\r\n",
          "POST / keep-alive length=0 | Host=h | Content-Length=0 | ");
    reads("HEAD / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nGET",
          "HEAD / keep-alive length=3 | Host=h | Content-Length=3 | GET");
    reads(POST HOST "Content-Length: 3\r\n\r\nab",
          "POST / keep-alive length=3 | Host=h | Content-Length=3 | ab | more");
    reads(POST HOST "\r\n", "POST / keep-alive | Host=h | ");
    reads(POST HOST "Content-Length: 18446744073709551615\r\n\r\nx",
          "POST / keep-alive length=18446744073709551615 | Host=h | "
          "Content-Length=18446744073709551615 | x | more");
}

static void reads_a_chunked_body(void **state)
{
    (void) state;
    reads(POST HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n02;x=\"y\"\r\nde\r\n0\r\n\r\n",
          "POST / keep-alive chunked | Host=h | Transfer-Encoding=chunked | abcde");
    reads(POST HOST "Transfer-Encoding: CHUNKED\r\n\r\n0\r\nTrailer: x\r\n\r\nrest",
          "POST / keep-alive chunked | Host=h | Transfer-Encoding=CHUNKED |  | rest 4");
    reads(POST HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nab",
          "POST / keep-alive chunked | Host=h | Transfer-Encoding=chunked | ab | more");
    refuses(400, POST HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: chunked\r\n\r\nx\r\n");
}

static void the_next_request_is_left_alone(void **state)
{
    (void) state;
    reads(GET HOST "\r\n" GET HOST "\r\n", "GET / keep-alive | Host=h |  | rest 27");
    reads(POST HOST "Content-Length: 2\r\n\r\nhiGET",
          "POST / keep-alive length=2 | Host=h | Content-Length=2 | hi | rest 3");
    reads(POST HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\r\nGET",
          "POST / keep-alive chunked | Host=h | Transfer-Encoding=chunked | x | rest 5");
    reads(GET HOST "\r\n\0\xFF", "GET / keep-alive | Host=h |  | rest 2");
    reads(GET HOST "Connection: close\r\n\r\nGET", "GET / | Host=h | Connection=close |  | rest 3");
}

static void lengths_that_two_parsers_could_read_differently_are_refused(void **state)
{
    (void) state;
    refuses(400, POST HOST "Content-Length: 5 5\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: +5\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: -5\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: 5, 6\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: 5, 5\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: 0x5\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: 5.\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: \"5\"\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length:\r\n\r\n");
    refuses(400, POST HOST "Content-Length: \t\r\n\r\n");
    refuses(400, POST HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello");
    refuses(400, POST HOST "Content-Length: 18446744073709551616\r\n\r\n");
    refuses(400, POST HOST "Content-Length: 99999999999999999999999\r\n\r\n");
}

static void codings_that_two_parsers_could_read_differently_are_refused(void **state)
{
    (void) state;
    refuses(400, POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: identity\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding: \x0B"
                           "chunked\r\n\r\n0\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding:\r\n\r\n");
    refuses(400, POST HOST "Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello");
    refuses(400, POST HOST "Transfer-Encoding: \rchunked\r\n\r\n0\r\n\r\n");
    refuses(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

/* --- limits and refusals of the events -------------------------------------------------------- */

/* A head of exactly `len` bytes, padded in its last header. */
static char *head_of(size_t len)
{
    static const char start[] = GET HOST "A: ";
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    memcpy(text, start, sizeof(start) - 1);
    memcpy(text + len - 4, "\r\n\r\n", 4);
    return text;
}

static void a_head_has_room_for_its_limit_and_not_a_byte_more(void **state)
{
    (void) state;
    struct peri_http_limits limits = usual;
    limits.max_head_bytes = 300;
    char *text = head_of(300);
    assert_int_equal(strncmp(read_with(&limits, text, 300), "GET / keep-alive", 16), 0);
    free(text);
    text = head_of(301);
    assert_string_equal(read_with(&limits, text, 301), "431");
    assert_string_equal(read_with(&limits, text, 299), "more");
    assert_string_equal(read_with(&limits, text, 300), "431"); /* it cannot end in time any more */
    free(text);
}

static void empty_lines_count_as_head(void **state)
{
    (void) state;
    struct peri_http_limits limits = usual;
    limits.max_head_bytes = 30;
    char text[60];
    for (size_t i = 0; i < sizeof(text); i += 2)
        memcpy(text + i, "\r\n", 2);
    assert_string_equal(read_with(&limits, text, 29), "more");
    assert_string_equal(read_with(&limits, text, sizeof(text)), "431");
}

static void a_head_has_room_for_its_number_of_headers(void **state)
{
    (void) state;
    struct peri_http_limits limits = usual;
    limits.max_headers = 3;
    static const char three[] = GET HOST "A: \r\nB: b\r\n\r\n";
    static const char four[] = GET HOST "A: \r\nB: b\r\nC: c\r\n\r\n";
    assert_string_equal(read_with(&limits, three, sizeof(three) - 1),
                        "GET / keep-alive | Host=h | A= | B=b | ");
    assert_string_equal(read_with(&limits, four, sizeof(four) - 1), "431");
}

static void a_target_has_room_for_its_limit(void **state)
{
    (void) state;
    struct peri_http_limits limits = usual;
    limits.max_target_bytes = 5;
    static const char five[] = "GET /a?bc HTTP/1.1\r\n" HOST "\r\n";
    static const char six[] = "GET /a?bcd HTTP/1.1\r\n" HOST "\r\n";
    assert_string_equal(read_with(&limits, five, sizeof(five) - 1),
                        "GET /a ?bc keep-alive | Host=h | ");
    assert_string_equal(read_with(&limits, six, sizeof(six) - 1), "414");
}

static void chunk_extensions_and_trailers_have_limits(void **state)
{
    (void) state;
    struct peri_http_limits limits = usual;
    limits.max_chunk_ext_bytes = 4;
    limits.max_head_bytes = 64;
#define CHUNKED POST HOST "Transfer-Encoding:chunked\r\n\r\n"
    static const char ext[] = CHUNKED "0;abcd\r\n\r\n";
    static const char long_ext[] = CHUNKED "0;abcde\r\n\r\n";
    static const char long_trailer[] =
        CHUNKED "0\r\nA: 3456789012345678901234567890123456789012345678901234567890123\r\n\r\n";
    assert_int_equal(strncmp(read_with(&limits, ext, sizeof(ext) - 1), "POST", 4), 0);
    assert_string_equal(read_with(&limits, long_ext, sizeof(long_ext) - 1), "400");
    assert_string_equal(read_with(&limits, long_trailer, sizeof(long_trailer) - 1), "431");
#undef CHUNKED
}

static void the_head_event_can_refuse(void **state)
{
    (void) state;
    static const char text[] = POST HOST "Content-Length: 5\r\n\r\nhello";
    for (size_t step = 1; step < sizeof(text); step++) {
        struct reading *reading = begin(&usual);
        reading->head_status = 413;
        feed_in_steps(reading, text, sizeof(text) - 1, step);
        assert_int_equal(reading->outcome, PERI_HTTP_BAD);
        assert_int_equal(reading->http.status, 413);
        assert_int_equal(reading->heads, 1);
        assert_int_equal(reading->body.len, 0);
        end(reading);
    }
}

static void the_body_event_can_refuse(void **state)
{
    (void) state;
    static const char sized[] = POST HOST "Content-Length: 5\r\n\r\nhello";
    static const char chunked[] =
        POST HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n4\r\nello\r\n0\r\n\r\n";
    for (size_t step = 1; step < sizeof(chunked); step++) {
        for (size_t room = 4; room <= 5; room++) {
            struct reading *reading = begin(&usual);
            reading->max_body = room;
            feed_in_steps(reading, sized, sizeof(sized) - 1, step);
            assert_int_equal(reading->outcome, room == 5 ? PERI_HTTP_END : PERI_HTTP_BAD);
            assert_int_equal(reading->http.status, room == 5 ? 0 : 413);
            end(reading);
            reading = begin(&usual);
            reading->max_body = room;
            feed_in_steps(reading, chunked, sizeof(chunked) - 1, step);
            assert_int_equal(reading->outcome, room == 5 ? PERI_HTTP_END : PERI_HTTP_BAD);
            assert_int_equal(reading->http.status, room == 5 ? 0 : 413);
            end(reading);
        }
    }
}

static void a_parser_can_be_initialised_again(void **state)
{
    (void) state;
    struct reading *reading = begin(&usual);
    static const char chunked[] =
        "POST /a?b HTTP/1.0\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx";
    static const char plain[] = GET HOST "\r\n";
    feed(reading, chunked, sizeof(chunked) - 1);
    assert_int_equal(reading->outcome, PERI_HTTP_END);
    free(reading->head);
    reading->fed = 0;
    reading->heads = 0;
    reading->body.len = 0;
    peri_http_init(&reading->http, &reading->request, &usual, &events, reading);
    feed(reading, plain, sizeof(plain) - 1);
    struct peri_buf text = {0};
    describe(&text, reading, sizeof(plain) - 1);
    assert_string_equal(text.data, "GET / keep-alive | Host=h | ");
    peri_buf_deinit(&text);
    end(reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_parts_of_a_head),
        cmocka_unit_test(empty_lines_before_a_request_are_ignored),
        cmocka_unit_test(an_incomplete_head_waits_for_more),
        cmocka_unit_test(values_lose_the_blanks_around_them_and_only_those),
        cmocka_unit_test(values_may_be_empty),
        cmocka_unit_test(repeated_headers_are_kept_in_order),
        cmocka_unit_test(headers_are_found_by_name_in_any_case),
        cmocka_unit_test(folded_headers_are_refused),
        cmocka_unit_test(bare_cr_and_lf_are_refused),
        cmocka_unit_test(nul_and_other_controls_are_refused),
        cmocka_unit_test(names_must_be_tokens_right_before_the_colon),
        cmocka_unit_test(request_lines_have_exactly_one_form),
        cmocka_unit_test(versions_without_a_head_of_ours_are_refused),
        cmocka_unit_test(methods_that_nobody_knows_are_read_like_others),
        cmocka_unit_test(targets_are_origin_absolute_or_asterisk),
        cmocka_unit_test(exactly_one_sound_host_is_required),
        cmocka_unit_test(http_1_0_needs_no_host_and_closes_unless_asked),
        cmocka_unit_test(close_ends_the_connection_in_any_list),
        cmocka_unit_test(an_upgrade_is_only_an_offer),
        cmocka_unit_test(http_1_0_can_neither_expect_nor_upgrade),
        cmocka_unit_test(only_100_continue_can_be_expected),
        cmocka_unit_test(reads_a_sized_body),
        cmocka_unit_test(reads_a_chunked_body),
        cmocka_unit_test(the_next_request_is_left_alone),
        cmocka_unit_test(lengths_that_two_parsers_could_read_differently_are_refused),
        cmocka_unit_test(codings_that_two_parsers_could_read_differently_are_refused),
        cmocka_unit_test(a_head_has_room_for_its_limit_and_not_a_byte_more),
        cmocka_unit_test(empty_lines_count_as_head),
        cmocka_unit_test(a_head_has_room_for_its_number_of_headers),
        cmocka_unit_test(a_target_has_room_for_its_limit),
        cmocka_unit_test(chunk_extensions_and_trailers_have_limits),
        cmocka_unit_test(the_head_event_can_refuse),
        cmocka_unit_test(the_body_event_can_refuse),
        cmocka_unit_test(a_parser_can_be_initialised_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
