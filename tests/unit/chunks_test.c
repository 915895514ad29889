/* The chunked coding: what is data, what is refused, and where the limits are; whole, byte by byte
 * and cut in two at every place. */
#include "chunks.h"

#include "buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOM 64 /* of extensions and of trailers, unless a test says otherwise */

struct decoding {
    struct peri_chunks chunks;
    struct peri_buf body;
    size_t fed;
    enum peri_chunks_outcome outcome;
};

/* Feeds len bytes in a block of their own. Returns whether the body goes on. */
static bool feed(struct decoding *decoding, const char *text, size_t len)
{
    char *block = malloc(len);
    assert_non_null(block);
    memcpy(block, text + decoding->fed, len);
    const char *at = block;
    size_t left = len;
    do {
        const char *data = NULL;
        size_t data_len = 0;
        decoding->outcome = peri_chunks_next(&decoding->chunks, &at, &left, &data, &data_len);
        if (decoding->outcome == PERI_CHUNKS_DATA) {
            assert_true(data_len > 0 && data >= block && data + data_len == at);
            peri_buf_add(&decoding->body, data, data_len);
        }
    } while (decoding->outcome == PERI_CHUNKS_DATA);
    assert_ptr_equal(at, block + len - left);
    assert_true(decoding->outcome != PERI_CHUNKS_MORE || left == 0);
    decoding->fed += len - left;
    free(block);
    return decoding->outcome == PERI_CHUNKS_MORE;
}

static void describe(struct peri_buf *out, struct decoding *decoding, size_t len)
{
    static const char *const outcomes[] = {"more", "data", "end", "bad", "long"};
    out->len = 0;
    peri_buf_add_str(out, outcomes[decoding->outcome]);
    if (decoding->outcome == PERI_CHUNKS_MORE || decoding->outcome == PERI_CHUNKS_END) {
        peri_buf_add_byte(out, ' ');
        peri_buf_add(out, decoding->body.data, decoding->body.len);
    }
    if (decoding->outcome == PERI_CHUNKS_END && decoding->fed < len)
        peri_buf_addf(out, " rest %zu", len - decoding->fed);
    peri_buf_add_byte(out, '\0');
    peri_buf_deinit(&decoding->body);
}

static const char *decode(const char *text, size_t len, uint32_t extensions, uint32_t trailers)
{
    static struct peri_buf whole;
    struct peri_buf pieces = {0};
    struct decoding decoding = {0};
    peri_chunks_init(&decoding.chunks, extensions, trailers);
    feed(&decoding, text, len);
    describe(&whole, &decoding, len);

    for (size_t cut = 0; cut < len; cut++) { /* 0: byte by byte */
        decoding = (struct decoding){0};
        peri_chunks_init(&decoding.chunks, extensions, trailers);
        if (cut > 0 && feed(&decoding, text, cut))
            feed(&decoding, text, len - cut);
        while (cut == 0 && decoding.fed < len && feed(&decoding, text, 1))
            ;
        describe(&pieces, &decoding, len);
        assert_string_equal(pieces.data, whole.data);
    }
    peri_buf_deinit(&pieces);
    return whole.data;
}

#define decodes_with(extensions, trailers, text, outcome)                                          \
    assert_string_equal(decode((text), sizeof(text) - 1, (extensions), (trailers)), outcome)
#define decodes(text, outcome) decodes_with(ROOM, ROOM, text, outcome)

static void joins_the_data_of_chunks(void **state)
{
    (void) state;
    decodes("0\r\n\r\n", "end ");
    decodes("3\r\nabc\r\n0\r\n\r\n", "end abc");
    decodes("1\r\na\r\n2\r\nbc\r\n003\r\ndef\r\n000\r\n\r\n", "end abcdef");
    decodes("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "end 01234567890123456789a");
    decodes("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "end \r\n0\r\n\r\n"); /* data is not looked at */
    decodes("10\r\n0123456789abcdef\r\n0\r\n\r\n", "end 0123456789abcdef");
}

static void later_bytes_are_left_alone(void **state)
{
    (void) state;
    decodes("0\r\n\r\nGET /", "end  rest 5");
    decodes("1\r\na\r\n0\r\n\r\n\r\n", "end a rest 2");
}

static void an_incomplete_body_waits_for_more(void **state)
{
    (void) state;
    static const char text[] = "2;x\r\nab\r\n0\r\nA: b\r\n\r\n";
    for (size_t len = 1; len < sizeof(text) - 1; len++)
        assert_int_equal(strncmp(decode(text, len, ROOM, ROOM), "more", 4), 0);
    decodes("2;x\r\nab\r\n0\r\nA: b\r\n\r\n", "end ab");
}

static void sizes_are_1_to_16_hex_digits(void **state)
{
    (void) state;
    decodes("0000000000000001\r\na\r\n0\r\n\r\n", "end a");
    decodes("00000000000000001\r\na\r\n0\r\n\r\n", "bad");
    decodes("ffffffffffffffff\r\nab", "more ab");
    decodes("FFFFFFFFFFFFFFFFF\r\n", "bad");
    decodes("10000000000000000\r\n", "bad");
    decodes("00000000000000000\r\n\r\n", "bad");
    decodes("\r\n", "bad");
    decodes(";x\r\n", "bad");
    decodes("g\r\n", "bad");
    decodes("0x1\r\na\r\n", "bad");
    decodes("+1\r\na\r\n", "bad");
    decodes("-1\r\n", "bad");
    decodes(" 1\r\na\r\n", "bad");
    decodes("1 \r\na\r\n", "bad");
    decodes("1_0\r\n", "bad");
    decodes("1\0\r\n", "bad");
    decodes("\xB1\r\n", "bad");
}

static void the_digits_of_every_size_count_anew(void **state)
{
    (void) state;
    decodes("0000000000000001\r\na\r\n0000000000000001\r\nb\r\n0000000000000000\r\n\r\n", "end ab");
}

static void every_line_ends_with_cr_lf(void **state)
{
    (void) state;
    decodes("1\na\r\n0\r\n\r\n", "bad");
    decodes("1\ra\r\n0\r\n\r\n", "bad");
    decodes("1;x\na\r\n", "bad");
    decodes("1\r\r\na\r\n", "bad");
    decodes("1\r\na\n0\r\n\r\n", "bad");
    decodes("1\r\na\rx", "bad");
    decodes("1\r\nab\r\n", "bad");
    decodes("2\r\na\r\n0\r\n\r\n", "bad");
    decodes("0\n\r\n", "bad");
    decodes("0\r\n\n", "bad");
    decodes("0\r\n\rx", "bad");
    decodes("0\r\nA: b\n\r\n", "bad");
    decodes("0\r\nA: b\rc\r\n\r\n", "bad");
}

static void extensions_are_ignored_when_sound(void **state)
{
    (void) state;
    decodes("1;a\r\nx\r\n0;b=\"c;d\"\r\n\r\n", "end x");
    decodes("1;\r\nx\r\n0\r\n\r\n", "end x");
    decodes("1;a\0b\r\nx\r\n", "bad");
    decodes("1;a\x01\r\nx\r\n", "bad");
    decodes("1;a\x7F\r\nx\r\n", "bad");
}

static void extensions_of_the_whole_body_share_one_limit(void **state)
{
    (void) state;
    decodes_with(4, ROOM, "1;abcd\r\nx\r\n0\r\n\r\n", "end x");
    decodes_with(4, ROOM, "1;abcde\r\nx\r\n0\r\n\r\n", "bad");
    decodes_with(4, ROOM, "1;ab\r\nx\r\n1;cd\r\ny\r\n0\r\n\r\n", "end xy");
    decodes_with(4, ROOM, "1;ab\r\nx\r\n1;cde\r\ny\r\n0\r\n\r\n", "bad");
    decodes_with(0, ROOM, "1;\r\nx\r\n0\r\n\r\n", "end x");
    decodes_with(0, ROOM, "1;a\r\nx\r\n0\r\n\r\n", "bad");
}

static void trailers_are_ignored_when_sound(void **state)
{
    (void) state;
    decodes("0\r\nA: b\r\nContent-Length: 5\r\n\r\nx", "end  rest 1");
    decodes("0\r\nA:\r\n\r\n", "end ");
    decodes("0\r\nA:\t\xC3\xA9 \r\n\r\n", "end ");
    decodes("0\r\nA : b\r\n\r\n", "bad");
    decodes("0\r\n: b\r\n\r\n", "bad");
    decodes("0\r\nA\r\n\r\n", "bad");
    decodes("0\r\n A: b\r\n\r\n", "bad");
    decodes("0\r\nA: b\r\n c\r\n\r\n", "bad"); /* folded */
    decodes("0\r\nA: \0\r\n\r\n", "bad");
    decodes("0\r\nA: \x1B\r\n\r\n", "bad");
    decodes("0\r\nGET / HTTP/1.1\r\n\r\n", "bad");
}

static void trailers_have_a_limit(void **state)
{
    (void) state;
    decodes_with(ROOM, 7, "0\r\nA: b\r\n\r\n", "end ");
    decodes_with(ROOM, 6, "0\r\nA: b\r\n\r\n", "long");
    decodes_with(ROOM, 1, "0\r\n\r\n", "end ");
}

static void a_hundred_thousand_chunks_of_a_byte_cost_nothing_but_their_bytes(void **state)
{
    (void) state;
    struct peri_chunks chunks;
    peri_chunks_init(&chunks, 0, ROOM);
    size_t total = 0;
    for (int i = 0; i < 100000; i++) {
        const char *bytes = "1\r\nx\r\n";
        size_t len = 6;
        const char *data = NULL;
        size_t data_len = 0;
        assert_int_equal(peri_chunks_next(&chunks, &bytes, &len, &data, &data_len),
                         PERI_CHUNKS_DATA);
        total += data_len;
        assert_int_equal(peri_chunks_next(&chunks, &bytes, &len, &data, &data_len),
                         PERI_CHUNKS_MORE);
    }
    assert_int_equal(total, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_the_data_of_chunks),
        cmocka_unit_test(later_bytes_are_left_alone),
        cmocka_unit_test(an_incomplete_body_waits_for_more),
        cmocka_unit_test(sizes_are_1_to_16_hex_digits),
        cmocka_unit_test(the_digits_of_every_size_count_anew),
        cmocka_unit_test(every_line_ends_with_cr_lf),
        cmocka_unit_test(extensions_are_ignored_when_sound),
        cmocka_unit_test(extensions_of_the_whole_body_share_one_limit),
        cmocka_unit_test(trailers_are_ignored_when_sound),
        cmocka_unit_test(trailers_have_a_limit),
        cmocka_unit_test(a_hundred_thousand_chunks_of_a_byte_cost_nothing_but_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
