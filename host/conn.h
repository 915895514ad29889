/* One client connection: bytes in both directions, deadlines, keep-alive and the end. Knows HTTP
 * only through its exchange.
 *
 * Data flow: libuv reads into the loop's buffer; process() hands the bytes to the current
 * exchange, which runs inside this call when its request is complete. Answers gather in the loop's
 * `out` buffer and leave in one write when the bytes of this read are used up, so that pipelined
 * answers are batched. One exchange at a time: bytes behind a request whose handler waits stay in
 * `pending`, and when that is full the socket is not read any more. What the socket does not take
 * is copied into one queue; while it is long, no further request is started.
 *
 * A connection has a budget in each turn of the loop: what it has sent beyond it waits until the
 * others have been served.
 *
 * An idle connection holds this struct and nothing else. Belongs to one loop thread; freed in its
 * close callback. */
#ifndef PERI_CONN_H
#define PERI_CONN_H

#include "address.h"
#include "buf.h"
#include "list.h"
#include "timer.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct peri_exchange;
struct peri_loop;

/* Whoever takes a connection over after an upgrade (WebSocket, for one). Called on the loop thread,
 * never from within Lua. */
struct peri_protocol {
    void (*data)(void *context, const char *bytes, size_t len);
    void (*drained)(void *context); /* the write queue is short again */
    void (*closed)(void *context);  /* the connection is gone; called once */
};

enum peri_conn_state {
    PERI_CONN_OPEN,
    PERI_CONN_LINGERING, /* the last answer is out: reads and drops until the client is done */
    PERI_CONN_CLOSING,
};

struct peri_conn {
    uv_tcp_t tcp;
    struct peri_loop *loop;
    struct peri_list link; /* on the loop's list of connections */
    struct peri_exchange *exchange;
    const struct peri_protocol *protocol;
    void *protocol_context;
    struct peri_buf pending;      /* read, not yet used */
    struct peri_timer read_timer; /* may fire before read_due: it is only ever moved forward */
    struct peri_timer write_timer;
    struct peri_list turn; /* among those of the loop that wait for their turn */
    uint64_t read_due;     /* when reading has taken too long; 0: it may take its time */
    uint64_t linger_until; /* at the latest, while it lingers */
    size_t queued;         /* bytes given to libuv that the socket has not taken */
    size_t untaken_before; /* what the client had not got when the write timer was started */
    uint8_t state;
    bool reading;
    bool processing;        /* bytes are being handed to the exchange */
    bool ended;             /* the client will send nothing more */
    bool close_after_write; /* no further request on this connection */
    bool expects_proxy;     /* its first bytes are a PROXY header */
    union peri_address peer;
};

/* Takes over an accepted, non-blocking socket; closes it when that fails. */
void peri_conn_open(struct peri_loop *loop, int fd, const union peri_address *peer);

/* Where the next bytes for this connection are appended; peri_conn_send() sends them. */
struct peri_buf *peri_conn_out(struct peri_conn *conn);

/* Sends what was appended to peri_conn_out(); `body` follows it and is not copied where the socket
 * takes it. While bytes of this connection are processed, short answers wait for the end of the
 * turn. */
void peri_conn_send(struct peri_conn *conn, const char *body, size_t body_len);

/* Whether a streaming writer should wait for peri_exchange_on_drain(). */
bool peri_conn_is_full(const struct peri_conn *conn);

/* The exchange is over and released. Goes on with the next request, lingers or closes. */
void peri_conn_exchange_over(struct peri_conn *conn, bool keep_alive);

/* The answer of the exchange is out but its task is not over: goes on as above, a turn later. */
void peri_conn_exchange_left(struct peri_conn *conn, bool keep_alive);

/* Reads or leaves the socket alone, as the exchange and the queues have room. */
void peri_conn_update_reading(struct peri_conn *conn);

/* The exchange waits for more bytes until then (uv_now() time); 0: for as long as it takes. */
void peri_conn_set_read_due(struct peri_conn *conn, uint64_t due);

/* Drops the connection with a reset: the answer under way must not look complete. */
void peri_conn_reset(struct peri_conn *conn);

void peri_conn_close(struct peri_conn *conn);

/* Hands the connection to another protocol once the current exchange is over; bytes that came
 * behind the request are given to it first. */
void peri_conn_take_over(struct peri_conn *conn, const struct peri_protocol *protocol,
                         void *context);

/* The server is stopping: closes when idle; otherwise the current answer is the last one. */
void peri_conn_stop(struct peri_conn *conn);

/* Serves the connections of the loop that wait for their turn; called after the I/O that was ready.
 */
void peri_conn_serve_turns(struct peri_loop *loop);

#endif
