/* Answers of other servers: what is read, what is refused, and where the limits are; whole, byte by
 * byte and cut in two at every place. What a real connection makes of them is
 * test_http_client.py's.
 */
#include "reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct peri_reply_limits limits = {
    .max_head_bytes = 256,
    .max_headers = 4,
    .max_chunk_ext_bytes = 16,
};

struct reading {
    struct peri_reply reply;
    struct peri_buf record;
    size_t fed;
    enum peri_reply_outcome last;
};

static void note_head(struct reading *reading)
{
    const struct peri_reply *reply = &reading->reply;
    peri_buf_addf(&reading->record, "%u %.*s", reply->status, (int) reply->reason.len,
                  peri_reply_at(reply, reply->reason));
    for (uint32_t i = 0; i < reply->header_count; i++) {
        const struct peri_header *header = &reply->headers[i];
        peri_buf_addf(&reading->record, "|%.*s=%.*s", (int) header->name.len,
                      peri_reply_at(reply, header->name), (int) header->value.len,
                      peri_reply_at(reply, header->value));
    }
    peri_buf_add_str(&reading->record, reply->keep_alive ? "|keep:" : "|close:");
}

/* Feeds len bytes in a block of exactly their size. Returns whether the answer goes on. */
static bool feed(struct reading *reading, const char *text, size_t len)
{
    char *block = malloc(len);
    assert_non_null(block);
    memcpy(block, text + reading->fed, len);
    const char *at = block;
    size_t left = len;
    do {
        const char *data = NULL;
        size_t data_len = 0;
        reading->last = peri_reply_next(&reading->reply, &at, &left, &data, &data_len);
        if (reading->last == PERI_REPLY_HEAD)
            note_head(reading);
        if (reading->last == PERI_REPLY_DATA) {
            assert_true(data_len > 0 && data >= block && data + data_len <= block + len);
            peri_buf_add(&reading->record, data, data_len);
        }
    } while (reading->last == PERI_REPLY_HEAD || reading->last == PERI_REPLY_DATA);
    assert_ptr_equal(at, block + len - left);
    assert_true(reading->last != PERI_REPLY_MORE || left == 0);
    reading->fed += len - left;
    free(block);
    return reading->last == PERI_REPLY_MORE;
}

/* `cut`: the length of the first piece; 0: byte by byte. */
static void read_in_pieces(struct reading *reading, enum peri_reply_question question,
                           const char *text, size_t len, size_t cut)
{
    *reading = (struct reading){0};
    peri_reply_init(&reading->reply, &limits);
    peri_reply_begin(&reading->reply, question);
    if (cut > 0) {
        if (feed(reading, text, cut) && cut < len)
            feed(reading, text, len - cut);
    } else {
        while (reading->fed < len && feed(reading, text, 1))
            ;
    }
    if (reading->last == PERI_REPLY_MORE)
        reading->last = peri_reply_cut(&reading->reply);
    if (reading->last == PERI_REPLY_BAD)
        peri_buf_addf(&reading->record, "! %s", reading->reply.fault);
    else
        peri_buf_addf(&reading->record, "; %zu", len - reading->fed);
    peri_buf_add_byte(&reading->record, '\0');
}

static void free_reading(struct reading *reading)
{
    peri_reply_deinit(&reading->reply);
    peri_buf_deinit(&reading->record);
}

/* The record of an answer: "status reason|name=value|keep or close:body; bytes behind it", or, from
 * the place where it is refused on, "! reason". */
static void check(enum peri_reply_question question, const char *text, const char *expected)
{
    size_t len = strlen(text);
    struct reading whole;
    read_in_pieces(&whole, question, text, len, len);
    assert_string_equal(whole.record.data, expected);
    for (size_t cut = 0; cut < len; cut++) {
        struct reading pieces;
        read_in_pieces(&pieces, question, text, len, cut);
        assert_string_equal(pieces.record.data, expected);
        free_reading(&pieces);
    }
    free_reading(&whole);
}

static void check_refused(const char *text, const char *fault)
{
    struct reading reading;
    for (size_t cut = 0; cut <= 1; cut++) {
        read_in_pieces(&reading, PERI_REPLY_TO_OTHER, text, strlen(text),
                       cut == 0 ? 0 : strlen(text));
        assert_int_equal(reading.last, PERI_REPLY_BAD);
        assert_string_equal(reading.reply.fault, fault);
        free_reading(&reading);
    }
}

static void bodies_are_framed_by_length_chunks_or_the_end(void **state)
{
    (void) state;
    check(PERI_REPLY_TO_OTHER, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHT",
          "200 OK|Content-Length=3|keep:abc; 2");
    check(PERI_REPLY_TO_OTHER,
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: "
          "u\r\n\r\n",
          "200 OK|Transfer-Encoding=Chunked|keep:abc; 0");
    check(PERI_REPLY_TO_OTHER, "HTTP/1.1 200\r\nA:\t b \r\n\r\nall of it",
          "200 |A=b|close:all of it; 0");
    check(PERI_REPLY_TO_OTHER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
          "200 OK|Content-Length=0|keep:; 0");
}

static void some_answers_have_no_body(void **state)
{
    (void) state;
    check(PERI_REPLY_TO_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
          "200 OK|Content-Length=9|keep:; 0");
    check(PERI_REPLY_TO_HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
          "200 OK|Transfer-Encoding=chunked|keep:; 1");
    check(PERI_REPLY_TO_OTHER, "HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\nx",
          "204 No|Content-Length=9|keep:; 1");
    check(PERI_REPLY_TO_OTHER, "HTTP/1.1 304 Same\r\n\r\n", "304 Same|keep:; 0");
    check(PERI_REPLY_TO_CONNECT, "HTTP/1.1 200 Go\r\n\r\ntunnel", "200 Go|keep:; 6");
    check(PERI_REPLY_TO_CONNECT, "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno",
          "407 No|Content-Length=2|keep:no; 0");
}

static void interim_answers_are_dropped(void **state)
{
    (void) state;
    check(PERI_REPLY_TO_OTHER,
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\nC: d\r\n\r\nHTTP/1.1 200 "
          "OK\r\nContent-Length: 1\r\n\r\nx",
          "200 OK|Content-Length=1|keep:x; 0");
    check_refused("HTTP/1.1 101 Switch\r\n\r\n", "it switches to another protocol unasked");
}

static void connections_live_as_the_head_says(void **state)
{
    (void) state;
    check(PERI_REPLY_TO_HEAD, "HTTP/1.1 200 OK\r\nConnection: a, Close ,b\r\n\r\n",
          "200 OK|Connection=a, Close ,b|close:; 0");
    check(PERI_REPLY_TO_HEAD, "HTTP/1.0 200 OK\r\n\r\n", "200 OK|close:; 0");
    check(PERI_REPLY_TO_HEAD, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
          "200 OK|Connection=keep-alive|keep:; 0");
}

static void what_two_parsers_could_read_in_two_ways_is_refused(void **state)
{
    (void) state;
    check_refused("GET / HTTP/1.1\r\n\r\n", "it does not speak HTTP/1.1");
    check_refused("\r\nHTTP/1.1 200 OK\r\n\r\n", "it does not speak HTTP/1.1");
    check_refused("HTTP/1.2 200 OK\r\n\r\n", "it speaks another version of HTTP");
    check_refused("HTTP/1.1  200 OK\r\n\r\n", "its status line is malformed");
    check_refused("HTTP/1.1 099 OK\r\n\r\n", "its status line is malformed");
    check_refused("HTTP/1.1 200OK\r\n\r\n", "its status line is malformed");
    check_refused("HTTP/1.1 200 O\001K\r\n\r\n", "its status line is malformed");
    check_refused("HTTP/1.1 200 OK\n\n", "a line ends with a bare line feed");
    check_refused("HTTP/1.1 200 OK\r\nA: b\r\n\n", "a line ends with a bare line feed");
    check_refused("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
                  "a header has a control character in its value");
    check_refused("HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\n\r\n", "a header line is malformed");
    check_refused("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "a header line is malformed");
    check_refused("HTTP/1.1 200 OK\r\n: b\r\n\r\n", "a header line is malformed");
    check_refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                  "it has two lengths");
    check_refused("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
                  "its Content-Length is not a number");
    check_refused("HTTP/1.1 200 OK\r\nContent-Length: 1 1\r\n\r\n",
                  "its Content-Length is not a number");
    check_refused("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
                  "its Content-Length is not a number");
    check_refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                  "it has both a length and a transfer coding");
    check_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
                  "its Transfer-Encoding is not chunked alone");
    check_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
                  "\r\n",
                  "its Transfer-Encoding is not chunked alone");
    check_refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                  "it is chunked in HTTP/1.0");
}

static void answers_that_break_off_are_no_answers(void **state)
{
    (void) state;
    check_refused("", "it closed the connection without an answer");
    check_refused("HTTP/1.1 200 OK\r\nA", "it closed the connection in the middle of a head");
    check_refused("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
                  "it closed the connection in the middle of a body");
    check_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
                  "it closed the connection in the middle of a chunked body");
}

static void check_repeated(const char *before, const char *part, unsigned times, const char *fault)
{
    struct peri_buf text = {0};
    peri_buf_add_str(&text, before);
    while (times-- > 0)
        peri_buf_add_str(&text, part);
    peri_buf_add_byte(&text, '\0');
    check_refused(text.data, fault);
    peri_buf_deinit(&text);
}

static void everything_has_a_limit(void **state)
{
    (void) state;
    check_repeated("HTTP/1.1 200 OK\r\nA: ", "a", 300, "its head is too long");
    check_refused("HTTP/1.1 200 OK\r\nA: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\n\r\n",
                  "it has too many headers");
    check_repeated("", "HTTP/1.1 100 Continue\r\n\r\n", 17, "it has too many interim answers");
    check_repeated("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1;12345678\r\nx\r\n",
                   3, "its chunks are malformed");
    check_repeated("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "T: u\r\n", 60,
                   "its trailers are too long");
}

static void one_reply_reads_answer_after_answer(void **state)
{
    (void) state;
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    struct reading reading = {0};
    peri_reply_init(&reading.reply, &limits);
    for (int i = 0; i < 3; i++) {
        peri_reply_begin(&reading.reply, PERI_REPLY_TO_OTHER);
        reading.fed = 0;
        assert_false(feed(&reading, text, sizeof(text) - 1));
        assert_int_equal(reading.last, PERI_REPLY_END);
        assert_int_equal(reading.reply.header_count, 1);
        assert_int_equal(peri_reply_find(&reading.reply, 0, "content-length"), 0);
        assert_int_equal(peri_reply_find(&reading.reply, 1, "content-length"), -1);
    }
    free_reading(&reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_framed_by_length_chunks_or_the_end),
        cmocka_unit_test(some_answers_have_no_body),
        cmocka_unit_test(interim_answers_are_dropped),
        cmocka_unit_test(connections_live_as_the_head_says),
        cmocka_unit_test(what_two_parsers_could_read_in_two_ways_is_refused),
        cmocka_unit_test(answers_that_break_off_are_no_answers),
        cmocka_unit_test(everything_has_a_limit),
        cmocka_unit_test(one_reply_reads_answer_after_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
