#include "inflate.h"

#include <brotli/decode.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define WINDOW 15
#define WINDOW_GZIP (WINDOW + 16)
#define PIECE 16384

struct peri_inflate {
    z_stream zlib;
    BrotliDecoderState *brotli; /* in place of zlib; NULL otherwise */
    uint64_t max_bytes;
    uint64_t in;
    uint64_t out;
    int status; /* that refuses the body; 0 until then */
    bool gzip;
    bool open;  /* zlib has state of ours */
    bool ended; /* the compressed data is complete */
};

static bool is_encoding(const char *text, size_t len, const char *name)
{
    while (len > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        len--;
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    return len == strlen(name) && strncasecmp(text, name, len) == 0;
}

static void *allocated(void *memory)
{
    if (memory == NULL) {
        fputs("perigee: out of memory (a compressed body)\n", stderr);
        abort();
    }
    return memory;
}

struct peri_inflate *peri_inflate_new(const char *encoding, size_t len, uint64_t max_bytes,
                                      int *status)
{
    *status = 0;
    if (encoding == NULL || is_encoding(encoding, len, "") ||
        is_encoding(encoding, len, "identity"))
        return NULL;
    bool gzip = is_encoding(encoding, len, "gzip") || is_encoding(encoding, len, "x-gzip");
    if (!gzip && !is_encoding(encoding, len, "deflate")) {
        *status = 415;
        return NULL;
    }
    struct peri_inflate *stream = allocated(calloc(1, sizeof(*stream)));
    stream->max_bytes = max_bytes;
    stream->gzip = gzip;
    return stream;
}

struct peri_inflate *peri_inflate_new_answer(const char *encoding, size_t len, uint64_t max_bytes,
                                             int *status)
{
    if (!is_encoding(encoding, len, "br"))
        return peri_inflate_new(encoding, len, max_bytes, status);
    struct peri_inflate *stream = allocated(calloc(1, sizeof(*stream)));
    stream->brotli = allocated(BrotliDecoderCreateInstance(NULL, NULL, NULL));
    stream->max_bytes = max_bytes;
    stream->open = true;
    *status = 0;
    return stream;
}

/* "deflate" means the zlib format (RFC 9110, 8.4.1.2), but some clients send its content bare. The
 * first byte tells: of zlib's it names method 8 and a window of 32 KiB at most, and as bare deflate
 * that would be a stored block with padding that is not zero. */
static void open_zlib(struct peri_inflate *stream, unsigned char first)
{
    bool wrapped = (first & 0x0F) == 8 && first >> 4 <= 7;
    int window = stream->gzip ? WINDOW_GZIP : wrapped ? WINDOW : -WINDOW;
    if (inflateInit2(&stream->zlib, window) != Z_OK) {
        fputs("perigee: out of memory (a compressed body)\n", stderr);
        abort();
    }
    stream->open = true;
}

static int deliver(struct peri_inflate *stream, const char *bytes, size_t len,
                   peri_inflate_sink *sink, void *context)
{
    if (len == 0)
        return 0;
    stream->out += len;
    if (stream->out > stream->max_bytes)
        return 413;
    if (stream->out > PERI_INFLATE_UNCHECKED && stream->out / PERI_INFLATE_RATIO > stream->in)
        return 413;
    return sink(context, bytes, len);
}

/* Several members may follow each other (RFC 1952, 2.2): inflates as much as there is of one. */
static int inflate_some(struct peri_inflate *stream, peri_inflate_sink *sink, void *context)
{
    z_stream *zlib = &stream->zlib;
    if (stream->ended) {
        if (!stream->gzip || inflateReset(zlib) != Z_OK)
            return 400; /* bytes behind the end */
        stream->ended = false;
    }
    int rc = Z_OK;
    do {
        unsigned char piece[PIECE];
        zlib->next_out = piece;
        zlib->avail_out = sizeof(piece);
        rc = inflate(zlib, Z_NO_FLUSH);
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return 400;
        int status =
            deliver(stream, (char *) piece, sizeof(piece) - zlib->avail_out, sink, context);
        if (status != 0)
            return status;
    } while (rc == Z_OK && zlib->avail_out == 0);
    stream->ended = rc == Z_STREAM_END;
    return 0;
}

static int unpack_brotli(struct peri_inflate *stream, const char *bytes, size_t len,
                         peri_inflate_sink *sink, void *context)
{
    const uint8_t *in = (const uint8_t *) bytes;
    BrotliDecoderResult rc = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
    if (stream->ended)
        return 400; /* bytes behind the end */
    while (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
        uint8_t piece[PIECE];
        uint8_t *out = piece;
        size_t room = sizeof(piece);
        rc = BrotliDecoderDecompressStream(stream->brotli, &len, &in, &room, &out, NULL);
        int status = deliver(stream, (char *) piece, sizeof(piece) - room, sink, context);
        if (status != 0)
            return status;
    }
    stream->ended = rc == BROTLI_DECODER_RESULT_SUCCESS;
    return rc == BROTLI_DECODER_RESULT_ERROR || (stream->ended && len > 0) ? 400 : 0;
}

int peri_inflate_feed(struct peri_inflate *stream, const char *bytes, size_t len,
                      peri_inflate_sink *sink, void *context)
{
    if (len == 0 || stream->status != 0)
        return stream->status;
    if (!stream->open)
        open_zlib(stream, (unsigned char) *bytes);
    stream->in += len;
    if (stream->brotli != NULL)
        return stream->status = unpack_brotli(stream, bytes, len, sink, context);
    stream->zlib.next_in = (unsigned char *) bytes;
    stream->zlib.avail_in = (unsigned) len;
    while (stream->zlib.avail_in > 0 && stream->status == 0)
        stream->status = inflate_some(stream, sink, context);
    return stream->status;
}

int peri_inflate_end(struct peri_inflate *stream)
{
    if (stream->status == 0 && stream->open && !stream->ended)
        stream->status = 400;
    return stream->status;
}

void peri_inflate_free(struct peri_inflate *stream)
{
    if (stream == NULL)
        return;
    if (stream->brotli != NULL)
        BrotliDecoderDestroyInstance(stream->brotli);
    else if (stream->open)
        inflateEnd(&stream->zlib);
    free(stream);
}
