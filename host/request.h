/* One parsed request head: where its parts stand in contiguous bytes. Pure: no sockets, no Lua.
 *
 * The bytes of a head are always contiguous at `base`: first in the loop's read buffer, and once
 * the request has to outlive the read (its head came in pieces, its handler waits) in a copy of its
 * own. Parts are offsets, so that moving the bytes is one memcpy and one assignment. */
#ifndef PERI_REQUEST_H
#define PERI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peri_span {
    uint32_t at; /* offset from base */
    uint32_t len;
};

struct peri_header {
    struct peri_span name; /* as the client wrote it */
    struct peri_span value;
};

enum peri_request_flags {
    PERI_REQUEST_KEEP_ALIVE = 1, /* the client lets the connection live */
    PERI_REQUEST_HTTP_1_0 = 2,
    PERI_REQUEST_EXPECTS_100 = 4,
    PERI_REQUEST_UPGRADE = 8, /* asks for another protocol */
    PERI_REQUEST_CHUNKED = 16,
    PERI_REQUEST_HAS_LENGTH = 32,
};

/* The number of every method that llhttp does not know: no operation has it. */
#define PERI_METHOD_OTHER 63

struct peri_request {
    const char *base;
    uint32_t head_len;            /* bytes of the head, its empty line included */
    uint8_t method;               /* llhttp's number, or PERI_METHOD_OTHER: */
    struct peri_span method_name; /* its name then */
    uint8_t flags;                /* enum peri_request_flags */
    uint16_t header_count;
    struct peri_span target;     /* as sent */
    struct peri_span path;       /* of the target, still percent-encoded */
    struct peri_span query;      /* behind the '?'; len 0 when there is none */
    uint64_t content_length;     /* 0 when chunked or absent */
    struct peri_header *headers; /* room for the limit's number of them */
};

static inline const char *peri_request_at(const struct peri_request *request, struct peri_span span)
{
    return request->base + span.at;
}

/* The name of the method, as the client wrote it. */
const char *peri_request_method(const struct peri_request *request, size_t *len);

/* The first header of this name (given in lower case), from index `from` on; -1 when there is none.
 */
int peri_request_find(const struct peri_request *request, int from, const char *name, size_t len);

/* Whether what stands behind a target is an HTTP version, and not one of ours. */
bool peri_is_other_version(const char *at, size_t len);

/* Checks the shape of a complete head byte by byte, where the parser is more lenient than a proxy
 * in front may be, splits the target, and requires exactly one sound Host. Returns 0 or the HTTP
 * status to refuse with (400, 417, 505). */
int peri_request_check(struct peri_request *request);

#endif
