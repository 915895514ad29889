/* The bytes of a response: status line, headers, framing. Pure but for the clock behind Date. */
#ifndef PERI_RESPONSE_H
#define PERI_RESPONSE_H

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

#define PERI_HEAD_CACHE_SIZE 8
#define PERI_HEAD_CACHE_BYTES 184

/* Heads differ little from answer to answer: status line, Date and Content-Type are kept ready
 * made, for as long as the second lasts. One for each loop thread. */
struct peri_head_cache {
    uint64_t next_ms; /* uv_now() from which on the date is stale */
    char date[32];
    unsigned turn; /* the entry to replace next */
    struct {
        uint16_t status; /* 0: free */
        uint16_t len;
        uint16_t type_len;
        char bytes[PERI_HEAD_CACHE_BYTES];
    } entries[PERI_HEAD_CACHE_SIZE];
};

/* The reason phrase; "" for an unknown status. */
const char *peri_status_text(unsigned status);

/* Whether a response of this status never has a body, nor a length (RFC 9110, 6.4.1). */
bool peri_status_has_no_body(unsigned status);

/* Appends `HTTP/1.1 200 OK CRLF`, `date` and, unless type_len is 0, `content-type`. The head goes
 * on with the caller's headers and must be ended by an empty line. */
void peri_head_begin(struct peri_head_cache *cache, uint64_t now_ms, struct peri_buf *out,
                     unsigned status, const char *type, size_t type_len);

/* Whether the bytes may stand in a head: a token as name; no CR, LF, NUL or other control character
 * but tab in a value. */
bool peri_header_name_is_sound(const char *name, size_t len);
bool peri_header_value_is_sound(const char *value, size_t len);

#endif
