/* HTTP/1.1 answers of other servers: bytes in, head and body out. Pure: knows no sockets, no Lua.
 *
 * A server we call may be hostile, and may stand behind a proxy that reads the same bytes: whatever
 * two parsers could read in two ways is refused (bare line feeds, folded lines, a length beside a
 * transfer coding, two lengths, codings other than chunked). Limits are checked before anything is
 * stored. Interim answers (1xx) are read and dropped.
 *
 * One peri_reply reads one answer after the other: peri_reply_begin() before each. */
#ifndef PERI_REPLY_H
#define PERI_REPLY_H

#include "buf.h"
#include "chunks.h"
#include "request.h" /* struct peri_header, struct peri_span */

#include <stdbool.h>

struct peri_reply_limits {
    uint32_t max_head_bytes; /* of one head, and again of trailers */
    uint32_t max_headers;
    uint32_t max_chunk_ext_bytes;
};

enum peri_reply_outcome {
    PERI_REPLY_MORE, /* everything was consumed; more must come */
    PERI_REPLY_HEAD, /* the head of the answer is there; call again */
    PERI_REPLY_DATA, /* *data and *data_len are the next piece of the body; call again */
    PERI_REPLY_END,  /* the answer is complete; later bytes are not its own */
    PERI_REPLY_BAD,  /* reply->fault says why; the connection cannot be used further */
};

enum peri_reply_question {
    PERI_REPLY_TO_OTHER,
    PERI_REPLY_TO_HEAD,    /* its answer has no body, whatever its head says */
    PERI_REPLY_TO_CONNECT, /* a 2xx has none either: what follows belongs to the tunnel */
};

struct peri_reply {
    const struct peri_reply_limits *limits; /* borrowed */
    const char *fault;                      /* static text */
    struct peri_buf head;                   /* the head's bytes: what the spans point into */
    struct peri_header *headers;
    uint32_t header_count;
    uint32_t header_cap;
    struct peri_span reason;
    uint64_t content_length; /* valid when has_length */
    uint16_t status;
    uint8_t question; /* enum peri_reply_question */
    uint8_t stage;
    uint8_t interims; /* 1xx heads seen so far */
    uint8_t minor;    /* of HTTP/1.x */
    bool has_length;
    bool keep_alive; /* the server lets the connection live; known after the head */
    union {
        uint64_t left;             /* in a sized body */
        struct peri_chunks chunks; /* in a chunked one */
    };
};

void peri_reply_init(struct peri_reply *reply, const struct peri_reply_limits *limits);
void peri_reply_deinit(struct peri_reply *reply);

/* What comes next answers a request of this kind. */
void peri_reply_begin(struct peri_reply *reply, enum peri_reply_question question);

/* Takes bytes from *bytes, up to the next event. */
enum peri_reply_outcome peri_reply_next(struct peri_reply *reply, const char **bytes, size_t *len,
                                        const char **data, size_t *data_len);

/* The server has closed the connection: END when that ends a body without a length, else BAD. */
enum peri_reply_outcome peri_reply_cut(struct peri_reply *reply);

/* The first header of this name, from index `from` on; -1 when there is none. */
int peri_reply_find(const struct peri_reply *reply, int from, const char *name);

static inline const char *peri_reply_at(const struct peri_reply *reply, struct peri_span span)
{
    return reply->head.data + span.at;
}

#endif
