/* A stream of bytes both ways over libuv: a TCP or Unix socket, or a pipe to a child process.
 *
 *     socket -> [filter] -> in -> whoever reads      whoever writes -> [filter] -> out -> socket
 *
 * The stream owns everything that libuv knows of, so whoever waits for it may leave at any moment:
 * a wait is a place in the stream's lists and a timer, nothing else. What arrives is read ahead up
 * to PERI_STREAM_AHEAD bytes and beyond that only for a reader that needs more, so a peer that
 * sends too much is held up by the kernel. What is sent is offered to the kernel at once; what it
 * does not take is kept, and writers wait for it.
 *
 * A task waits by embedding a struct peri_stream_wait in its op: `wake` notes the status and calls
 * peri_op_done(), and the op's `cancel` calls peri_stream_leave() and peri_op_done().
 * host/api/api_stream.c does that for Lua.
 *
 * TLS goes between the socket and everybody else as a struct peri_filter, embedded in whatever
 * holds the SSL object and its two memory BIOs. `receive` puts the bytes into the reading BIO,
 * calls SSL_do_handshake() or SSL_read() until it wants more, and moves what the writing BIO holds
 * to `wire`; `send` calls SSL_write() and moves likewise. The one who connects does peri_dial() ...
 * peri_stream_set_filter() (says hello) ... peri_stream_await_bytes() with an `enough` that asks
 * SSL_is_init_finished(); from then on reading, writing, timeouts and closing are what they are
 * without it. Why it failed is the filter's to tell: stream->filter lives until the stream is
 * freed.
 *
 * Belongs to one loop thread. Knows no Lua and raises nothing; returns 0 or UV_E* codes. */
#ifndef PERI_STREAM_H
#define PERI_STREAM_H

#include "buf.h"
#include "list.h"
#include "timer.h"

#include <stdbool.h>
#include <uv.h>

#define PERI_STREAM_AHEAD 65536

struct peri_stream;

/* What stands between the socket and those who read and write. */
struct peri_filter {
    /* Takes all `len` bytes that the socket gave: adds what they say to `plain` and what must be
     * answered to `wire`. Called once with len 0 when the filter is set. Returns 0, UV_EOF when the
     * peer ended the conversation by the filter's own rules, or UV_E*. */
    int (*receive)(struct peri_filter *filter, const char *bytes, size_t len,
                   struct peri_buf *plain, struct peri_buf *wire);
    /* Adds to `wire` what these bytes become. Returns 0 or UV_E*. */
    int (*send)(struct peri_filter *filter, const char *bytes, size_t len, struct peri_buf *wire);
    /* Adds the proper end to `wire`. May be NULL. */
    void (*finish)(struct peri_filter *filter, struct peri_buf *wire);
    /* The socket ended before the filter saw its own end: UV_EOF when that is good enough, or
     * UV_E*. May be NULL: UV_EOF. */
    int (*cut)(struct peri_filter *filter);
    void (*free)(struct peri_filter *filter);
};

/* Somebody who waits; zeroed but for the two functions. Valid until woken or left. */
struct peri_stream_wait {
    /* Called once: 0; UV_EOF when the stream ended before there was enough; UV_ETIMEDOUT;
     * UV_ECANCELED when the stream was closed meanwhile; any other UV_E*. */
    void (*wake)(struct peri_stream_wait *wait, int status);
    /* Whether the bytes that have arrived are enough. Bounds them: more are kept until this is
     * true. Only for peri_stream_await_bytes(). */
    bool (*enough)(struct peri_stream_wait *wait, const char *bytes, size_t len);

    struct peri_stream *stream; /* NULL while it does not wait */
    struct peri_list link;      /* among the writers */
    uint64_t until;             /* a writer waits until this many bytes have left */
    struct peri_timer timer;
};

struct peri_stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct peri_timers *timers;
    struct peri_filter *filter; /* owned; NULL for plain bytes */
    struct peri_buf in;         /* what arrived: peri_stream_bytes() */
    size_t taken;               /* how many bytes of it are gone */
    int ended;                  /* why no more bytes arrive: UV_EOF or UV_E*; 0 while they may */
    int broken;                 /* why no more bytes can be sent; 0 while they can */
    bool reading;
    bool writing;  /* `flight` is with libuv */
    bool ending;   /* the sending side ends behind the last byte; that end counts as one byte */
    bool shutdown; /* libuv was told so */
    bool hung_up;  /* libuv was told to close the handle */
    bool gone;     /* and has done it */
    bool closing;  /* whoever owned the stream has closed it */

    struct peri_stream_wait *reader;
    struct peri_list writers;
    struct peri_buf raw;    /* what arrived and the filter has not seen yet */
    struct peri_buf out;    /* what libuv does not know of yet */
    struct peri_buf flight; /* what it knows of */
    uint64_t queued;        /* bytes ever accepted for the socket */
    uint64_t sent;          /* bytes ever given to the kernel */
    uv_write_t write;
    uv_shutdown_t shut;
};

/* A stream without a peer: for uv_tcp_connect(), uv_accept() or uv_spawn() on its `uv`. */
struct peri_stream *peri_stream_new(uv_loop_t *loop, struct peri_timers *timers,
                                    uv_handle_type type); /* UV_TCP or UV_NAMED_PIPE */

/* Ends everything at once: unsent bytes are lost and those who wait are woken. The stream frees
 * itself (and its filter) when libuv let go. */
void peri_stream_close(struct peri_stream *stream);

/* Puts a filter, owned from now on, before all bytes that nobody has taken yet. */
int peri_stream_set_filter(struct peri_stream *stream, struct peri_filter *filter);

/* Waits until `enough`. One reader at a time: whoever calls looks at stream->reader first. A
 * timeout of 0 means none. The wait may be woken before this returns. */
void peri_stream_await_bytes(struct peri_stream *stream, struct peri_stream_wait *wait,
                             uint64_t timeout_ms);

/* What has arrived and was not taken yet; borrowed until the loop goes on. */
static inline const char *peri_stream_bytes(const struct peri_stream *stream, size_t *len)
{
    *len = stream->in.len - stream->taken;
    return *len > 0 ? stream->in.data + stream->taken : "";
}

/* Takes the first `len` of these bytes away. */
void peri_stream_take(struct peri_stream *stream, size_t len);

/* Sends all of it, now or later. */
int peri_stream_send(struct peri_stream *stream, const char *bytes, size_t len);

/* Ends the sending side behind the last byte; receiving goes on. A pipe that is written only has no
 * other side: its descriptor is closed. */
int peri_stream_finish(struct peri_stream *stream);

/* Whether the kernel has everything that was sent, the end of the sending side included. */
static inline bool peri_stream_is_sent(const struct peri_stream *stream)
{
    return stream->sent == stream->queued;
}

/* Waits until the kernel has everything that was sent so far. A writer that leaves, or whose time
 * is up, before that leaves half a message behind: nothing can be sent after it. */
void peri_stream_await_sent(struct peri_stream *stream, struct peri_stream_wait *wait,
                            uint64_t timeout_ms);

/* Ends a wait that was not woken; harmless otherwise. */
void peri_stream_leave(struct peri_stream_wait *wait);

#endif
