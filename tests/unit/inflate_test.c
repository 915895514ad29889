/* Compressed bodies, fed whole and in pieces: what comes out, and what is refused. */
#include "inflate.h"

#include "buf.h"

#include <brotli/encode.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

#define GZIP 31
#define ZLIB 15
#define BARE (-15)

static void compress_as(int window, const char *bytes, size_t len, struct peri_buf *out)
{
    z_stream zlib = {0};
    assert_int_equal(deflateInit2(&zlib, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&zlib, len);
    zlib.next_in = (unsigned char *) bytes;
    zlib.avail_in = (unsigned) len;
    zlib.next_out = (unsigned char *) peri_buf_reserve(out, room);
    zlib.avail_out = (unsigned) room;
    assert_int_equal(deflate(&zlib, Z_FINISH), Z_STREAM_END);
    out->len += zlib.total_out;
    deflateEnd(&zlib);
}

static int sink(void *context, const char *bytes, size_t len)
{
    struct peri_buf *out = context;
    if (out == NULL)
        return 418;
    peri_buf_add(out, bytes, len);
    return 0;
}

static void compress_brotli(const char *bytes, size_t len, struct peri_buf *out)
{
    size_t room = BrotliEncoderMaxCompressedSize(len) + 100;
    uint8_t *to = (uint8_t *) peri_buf_reserve(out, room);
    assert_true(BrotliEncoderCompress(5, BROTLI_DEFAULT_WINDOW, BROTLI_DEFAULT_MODE, len,
                                      (const uint8_t *) bytes, &room, to));
    out->len += room;
}

/* Inflates a body in pieces of `step` bytes, each in a block of exactly its size. */
static int inflate_all(const char *encoding, const struct peri_buf *body, size_t step,
                       uint64_t max_bytes, struct peri_buf *out)
{
    int status = 0;
    struct peri_inflate *stream =
        peri_inflate_new_answer(encoding, strlen(encoding), max_bytes, &status);
    assert_non_null(stream);
    assert_int_equal(status, 0);
    for (size_t at = 0; body->data != NULL && at < body->len; at += step) {
        size_t piece = body->len - at < step ? body->len - at : step;
        char *block = malloc(piece);
        assert_non_null(block);
        memcpy(block, body->data + at, piece);
        status = peri_inflate_feed(stream, block, piece, sink, out);
        free(block);
    }
    int end = peri_inflate_end(stream);
    if (status != 0)
        assert_int_equal(end, status);
    peri_inflate_free(stream);
    return end;
}

static void inflates_gzip_and_both_kinds_of_deflate(void **state)
{
    (void) state;
    static const struct {
        const char *encoding;
        int window;
    } kinds[] = {{"gzip", GZIP}, {" X-GZip ", GZIP}, {"deflate", ZLIB}, {"Deflate", BARE}};
    static const char text[] = "What is said three times is true. What is said three times.";
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct peri_buf body = {0};
        compress_as(kinds[i].window, text, sizeof(text), &body);
        for (size_t step = 1; step <= body.len; step++) {
            struct peri_buf out = {0};
            assert_int_equal(inflate_all(kinds[i].encoding, &body, step, 1 << 20, &out), 0);
            assert_int_equal(out.len, sizeof(text));
            assert_memory_equal(out.data, text, sizeof(text));
            peri_buf_deinit(&out);
        }
        peri_buf_deinit(&body);
    }
}

static void bodies_longer_than_one_piece_come_out_whole(void **state)
{
    (void) state;
    struct peri_buf text = {0};
    unsigned random = 1;
    for (size_t i = 0; i < 300000; i++) {
        random = random * 1103515245 + 12345;
        peri_buf_add_byte(&text, (char) ((random >> 16) % 7));
    }
    struct peri_buf body = {0};
    struct peri_buf out = {0};
    compress_as(GZIP, text.data, text.len, &body);
    assert_int_equal(inflate_all("gzip", &body, 8192, 300000, &out), 0);
    assert_int_equal(out.len, text.len);
    assert_memory_equal(out.data, text.data, text.len);
    out.len = 0;
    assert_int_equal(inflate_all("gzip", &body, 8192, 299999, &out), 413);
    assert_true(out.len <= 299999);
    peri_buf_deinit(&out);
    peri_buf_deinit(&body);
    peri_buf_deinit(&text);
}

static void members_may_follow_each_other(void **state)
{
    (void) state;
    struct peri_buf body = {0};
    compress_as(GZIP, "one ", 4, &body);
    compress_as(GZIP, "two", 3, &body);
    for (size_t step = 1; step <= body.len; step++) {
        struct peri_buf out = {0};
        assert_int_equal(inflate_all("gzip", &body, step, 100, &out), 0);
        assert_int_equal(out.len, 7);
        assert_memory_equal(out.data, "one two", 7);
        peri_buf_deinit(&out);
    }
    peri_buf_deinit(&body);
}

static void a_bomb_is_refused_before_it_fills_the_memory(void **state)
{
    (void) state;
    struct peri_buf zeros = {0};
    struct peri_buf body = {0};
    struct peri_buf out = {0};
    memset(peri_buf_reserve(&zeros, 1 << 20), 0, 1 << 20);
    zeros.len = PERI_INFLATE_UNCHECKED; /* small ones may be as dense as they like */
    compress_as(GZIP, zeros.data, zeros.len, &body);
    assert_int_equal(inflate_all("gzip", &body, body.len, UINT64_MAX, &out), 0);
    assert_int_equal(out.len, zeros.len);

    zeros.len = 1 << 20;
    out.len = body.len = 0;
    compress_as(GZIP, zeros.data, zeros.len, &body);
    assert_true(body.len * PERI_INFLATE_RATIO < zeros.len);
    assert_int_equal(inflate_all("gzip", &body, body.len, UINT64_MAX, &out), 413);
    assert_true(out.len <= body.len * PERI_INFLATE_RATIO + 16384);
    peri_buf_deinit(&out);
    peri_buf_deinit(&body);
    peri_buf_deinit(&zeros);
}

static void broken_bodies_are_a_400(void **state)
{
    (void) state;
    static const struct {
        const char *encoding;
        int window;
    } kinds[] = {{"gzip", GZIP}, {"deflate", ZLIB}, {"deflate", BARE}};
    for (size_t i = 0; i < 3; i++) {
        struct peri_buf body = {0};
        struct peri_buf out = {0};
        compress_as(kinds[i].window, "text", 4, &body);
        size_t whole = body.len;
        for (body.len = 1; body.len < whole; body.len++) /* cut off */
            assert_int_equal(inflate_all(kinds[i].encoding, &body, whole, 100, &out), 400);
        peri_buf_add_lit(&body, "more");
        assert_int_equal(inflate_all(kinds[i].encoding, &body, 1, 100, &out), 400);
        if (kinds[i].window != BARE) { /* a checksum guards the others */
            body.len = whole;
            body.data[whole - 6] ^= 1;
            assert_int_equal(inflate_all(kinds[i].encoding, &body, whole, 100, &out), 400);
        }
        peri_buf_deinit(&out);
        peri_buf_deinit(&body);
    }
    struct peri_buf plain = {.data = (char *) "{\"a\": 1}", .len = 8};
    struct peri_buf out = {0};
    assert_int_equal(inflate_all("gzip", &plain, 8, 100, &out), 400);
    peri_buf_deinit(&out);
}

static void no_body_is_an_empty_body(void **state)
{
    (void) state;
    struct peri_buf none = {0};
    struct peri_buf out = {0};
    assert_int_equal(inflate_all("gzip", &none, 1, 100, &out), 0);
    assert_int_equal(out.len, 0);
}

static void the_sink_can_refuse(void **state)
{
    (void) state;
    struct peri_buf body = {0};
    compress_as(GZIP, "text", 4, &body);
    assert_int_equal(inflate_all("gzip", &body, 1, 100, NULL), 418);
    peri_buf_deinit(&body);
}

static void answers_may_be_brotli(void **state)
{
    (void) state;
    static char text[100000];
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof(text); i++) {
        seed = seed * 1103515245 + 12345;
        text[i] = (char) ('a' + (seed >> 16) % 6);
    }
    struct peri_buf body = {0};
    compress_brotli(text, sizeof(text), &body);
    for (size_t step = 1; step <= body.len; step = step * 7 + 1) {
        struct peri_buf out = {0};
        assert_int_equal(inflate_all("br", &body, step, sizeof(text), &out), 0);
        assert_int_equal(out.len, sizeof(text));
        assert_memory_equal(out.data, text, sizeof(text));
        peri_buf_deinit(&out);
    }
    struct peri_buf out = {0};
    assert_int_equal(inflate_all("br", &body, 50, sizeof(text) - 1, &out), 413);
    assert_int_equal(inflate_all("br", &body, body.len, 100000, NULL), 418);
    body.len--; /* cut off */
    assert_int_equal(inflate_all("br", &body, 50, 100000, &out), 400);
    body.len++;
    peri_buf_add_byte(&body, 'x'); /* behind the end */
    assert_int_equal(inflate_all("br", &body, 1, 100000, &out), 400);
    assert_int_equal(inflate_all("br", &body, body.len, 100000, &out), 400);
    body.data[body.len / 2] ^= 0x55;
    assert_int_equal(inflate_all("br", &body, 50, 100000, &out) != 0, 1);
    static const char zeros[10000000];
    body.len = 0;
    compress_brotli(zeros, sizeof(zeros), &body);
    assert_int_equal(inflate_all("br", &body, body.len, 100000000, &out), 413);
    peri_buf_deinit(&out);
    peri_buf_deinit(&body);
}

static void other_encodings_are_refused_or_none(void **state)
{
    (void) state;
    static const char *const unknown[] = {"br", "gzip, gzip", "gzipp", "gzi", "zstd"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++) {
        int status = 0;
        assert_null(peri_inflate_new(unknown[i], strlen(unknown[i]), 100, &status));
        assert_int_equal(status, 415);
    }
    int status = 1;
    assert_null(peri_inflate_new(NULL, 0, 100, &status));
    assert_int_equal(status, 0);
    status = 1;
    assert_null(peri_inflate_new("Identity", 8, 100, &status));
    assert_int_equal(status, 0);
    status = 1;
    assert_null(peri_inflate_new(" ", 1, 100, &status));
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inflates_gzip_and_both_kinds_of_deflate),
        cmocka_unit_test(bodies_longer_than_one_piece_come_out_whole),
        cmocka_unit_test(members_may_follow_each_other),
        cmocka_unit_test(a_bomb_is_refused_before_it_fills_the_memory),
        cmocka_unit_test(broken_bodies_are_a_400),
        cmocka_unit_test(no_body_is_an_empty_body),
        cmocka_unit_test(the_sink_can_refuse),
        cmocka_unit_test(answers_may_be_brotli),
        cmocka_unit_test(other_encodings_are_refused_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
