/* The chunked coding of a request body (RFC 9112, 7.1), decoded as it arrives. Pure.
 *
 * Stricter than most parsers, because what a proxy in front reads must be what we read: sizes are
 * 1 to 16 hex digits and nothing else, every line ends with CR LF, extensions and trailers are
 * checked, bounded and ignored, trailers are never folded. */
#ifndef PERI_CHUNKS_H
#define PERI_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

struct peri_chunks {
    uint64_t left; /* of the size line: its value so far; of the data: bytes to come */
    uint32_t extension_bytes;
    uint32_t trailer_bytes;
    uint32_t max_extension_bytes;
    uint32_t max_trailer_bytes;
    uint8_t state;
    uint8_t digits;
};

enum peri_chunks_outcome {
    PERI_CHUNKS_MORE, /* everything was consumed; more must come */
    PERI_CHUNKS_DATA, /* *data and *data_len are the next piece of the body; call again */
    PERI_CHUNKS_END,  /* the body is complete */
    PERI_CHUNKS_BAD,  /* 400 */
    PERI_CHUNKS_LONG, /* the trailers are too long: 431 */
};

void peri_chunks_init(struct peri_chunks *chunks, uint32_t max_extension_bytes,
                      uint32_t max_trailer_bytes);

/* Takes bytes from *bytes, up to the next piece of data or the end. */
enum peri_chunks_outcome peri_chunks_next(struct peri_chunks *chunks, const char **bytes,
                                          size_t *len, const char **data, size_t *data_len);

#endif
