/* Compressed bodies, inflated while they arrive: gzip and deflate of requests, also brotli of the
 * answers that we asked for. Pure.
 *
 * A bomb is noticed before it goes off: the limit counts inflated bytes, and so does the ratio. */
#ifndef PERI_INFLATE_H
#define PERI_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#define PERI_INFLATE_RATIO 100       /* inflated bytes for each byte that came, at most, */
#define PERI_INFLATE_UNCHECKED 65536 /* beyond the first ones */

struct peri_inflate;

/* Takes inflated bytes. Answers 0 to go on, or a status that peri_inflate_feed() then returns. */
typedef int peri_inflate_sink(void *context, const char *bytes, size_t len);

/* Begins a body with this Content-Encoding (the header's value; NULL is allowed). *status becomes
 * 0, or 415 when the encoding is not one of ours. Returns NULL then, and also when nothing is to be
 * inflated (no encoding, "identity"). */
struct peri_inflate *peri_inflate_new(const char *encoding, size_t len, uint64_t max_bytes,
                                      int *status);

/* The same for the body of an answer, which may be "br". */
struct peri_inflate *peri_inflate_new_answer(const char *encoding, size_t len, uint64_t max_bytes,
                                             int *status);

/* Hands it bytes of the body; peri_inflate_end() says that there are no more. Both return 0, or the
 * status that refuses the request: 400 (broken or cut off) or 413 (too much); after that only this.
 */
int peri_inflate_feed(struct peri_inflate *stream, const char *bytes, size_t len,
                      peri_inflate_sink *sink, void *context);
int peri_inflate_end(struct peri_inflate *stream);

void peri_inflate_free(struct peri_inflate *stream); /* NULL is allowed */

#endif
