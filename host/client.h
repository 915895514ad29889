/* One connection to another server, as its HTTP client: sends requests, reads their answers. Knows
 * no Lua.
 *
 *     stream -> reply.h -> [inflate.h] -> body -> whoever asks
 *
 * Bytes are taken from the stream only while somebody waits for them, so a server that sends faster
 * than we read is held up by the kernel. One request at a time; one task at a time waits, for one
 * of the things below. What goes wrong is noted once (code, text); from then on the connection is
 * of no use.
 *
 * Between requests a connection that may be used again is parked: it is watched, and closed when
 * the server closes it, says something unasked, or nobody needed it for long enough.
 *
 * Embedded in its owner; belongs to one loop thread. */
#ifndef PERI_CLIENT_H
#define PERI_CLIENT_H

#include "inflate.h"
#include "reply.h"
#include "stream.h"

enum peri_client_wait {
    PERI_CLIENT_NOTHING,
    PERI_CLIENT_SENT,   /* the kernel has what was sent, or the answer has begun without it */
    PERI_CLIENT_HEAD,   /* the head of the answer */
    PERI_CLIENT_PIECE,  /* some of its body, or its end */
    PERI_CLIENT_WHOLE,  /* its end */
    PERI_CLIENT_PARKED, /* nothing: anything that happens is the end */
};

struct peri_client {
    struct peri_stream *stream; /* owned; NULL once closed */
    struct peri_stream_wait reader;
    struct peri_stream_wait writer;
    struct peri_timer timer; /* of the wait */
    struct peri_reply reply;
    struct peri_inflate *inflate; /* NULL when the body is as it was sent */
    struct peri_buf body;         /* decoded, and nobody's yet */
    uint64_t body_bytes;          /* of this answer, decoded */
    uint64_t max_body_bytes;
    uint64_t due;        /* when the request must be over, on uv_now()'s clock; 0: never */
    uint64_t silence_ms; /* that the server is allowed; 0: any */
    uint64_t unsent;     /* bytes of the request that the kernel had not taken when last asked */
    uint64_t stray;      /* bytes of the server's that belong to no answer */
    void (*ready)(struct peri_client *client); /* what was waited for is there, or never will be */
    uint8_t wait;                              /* enum peri_client_wait */
    bool is_last;                              /* the timer is for `due`, not for silence */
    bool decode;                               /* inflate bodies */
    bool sent;                                 /* the request went out whole */
    bool heard;                                /* the server has answered with a byte */
    bool has_head;
    bool complete;
    const char *code; /* static; NULL while all is well */
    char text[200];
};

/* Takes the stream, which is connected (and secured), over. */
void peri_client_init(struct peri_client *client, struct peri_stream *stream,
                      void (*ready)(struct peri_client *client));

/* Closes the connection, in whatever state; idempotent. Whoever waits is told so (ECLOSED). */
void peri_client_close(struct peri_client *client);

struct peri_client_terms {
    enum peri_reply_question question;
    uint64_t max_body_bytes; /* decoded */
    bool decode;
    uint64_t due;
    uint64_t silence_ms;
};

/* A request begins. */
void peri_client_begin(struct peri_client *client, const struct peri_client_terms *terms);

/* Queues bytes of the request; failures show in the next wait. */
void peri_client_send(struct peri_client *client, const char *bytes, size_t len);

/* Whether nothing more needs to be sent: the server does not listen any more, or its answer, which
 * has come early, says no or points elsewhere. */
bool peri_client_is_pointless(const struct peri_client *client);

/* The request is complete: without this, its connection is not used again. */
void peri_client_end(struct peri_client *client);

/* Waits: returns true when there is nothing to wait for, else `ready` is called later. */
bool peri_client_await(struct peri_client *client, enum peri_client_wait wait);

/* Whoever waited has gone, in the middle of something: the connection ends. */
void peri_client_abandon(struct peri_client *client, const char *code, const char *text);

/* The answer is read: keeps the connection for the next request, for at most `idle_ms`. Returns
 * false, having closed it, when it cannot be used again. */
bool peri_client_park(struct peri_client *client, uint64_t idle_ms);

/* Whether a parked connection is alive; if so, a request may begin. Closes it otherwise. */
bool peri_client_unpark(struct peri_client *client);

/* Ends the answer, for what follows on the stream is another protocol (a tunnel), and gives the
 * stream away. NULL when the server has said too much or nothing more can be said to it. */
struct peri_stream *peri_client_release(struct peri_client *client);

#endif
