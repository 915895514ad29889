/* HTTP/1.1 requests: bytes in, events out. Knows no sockets and no Lua.
 *
 * llhttp reads the head; whatever it would let through although a proxy in front could read it
 * differently is refused by peri_request_check(). Bodies are ours: a count, or chunks.h. Limits are
 * checked before anything is stored. One peri_http reads one message. */
#ifndef PERI_HTTP_H
#define PERI_HTTP_H

#include "chunks.h"
#include "request.h"

#include <llhttp.h>

struct peri_http_limits {
    uint32_t max_head_bytes; /* of the head, and again of trailers */
    uint32_t max_headers;
    uint32_t max_target_bytes;
    uint32_t max_chunk_ext_bytes;
};

struct peri_http_events {
    /* The head is complete and sound. Returns 0 to go on, or a status to refuse with. */
    int (*head)(void *context);
    /* A piece of the body, valid during the call only. Returns 0 or a status to refuse with. */
    int (*body)(void *context, const char *bytes, size_t len);
};

enum peri_http_outcome {
    PERI_HTTP_MORE, /* everything was consumed; the message goes on */
    PERI_HTTP_END,  /* the message is complete; later bytes are not its own */
    PERI_HTTP_BAD,  /* http->status says how to refuse it; the connection cannot be used further */
};

struct peri_http {
    struct peri_request *request;
    const struct peri_http_limits *limits;
    const struct peri_http_events *events;
    void *context;
    const char *origin; /* while in the head: the byte that offset 0 stands for */
    uint16_t status;    /* set when refused */
    bool head_done;
    uint8_t other; /* a method that llhttp does not know: see http.c */
    union {
        llhttp_t parser;           /* in the head */
        uint64_t left;             /* in a sized body */
        struct peri_chunks chunks; /* in a chunked one */
    };
};

/* `request->headers` has room for limits->max_headers. All pointers are borrowed. */
void peri_http_init(struct peri_http *http, struct peri_request *request,
                    const struct peri_http_limits *limits, const struct peri_http_events *events,
                    void *context);

/* Feeds bytes. While the head is incomplete, `bytes` must stand in memory right behind those fed
 * before: `base` is the first byte of the head, and request->base is set to it. *consumed tells how
 * many bytes belong to this message. */
enum peri_http_outcome peri_http_feed(struct peri_http *http, const char *base, const char *bytes,
                                      size_t len, size_t *consumed);

#endif
