#include "conn.h"

#include "exchange.h"
#include "loop.h"
#include "proxy.h"
#include "server.h"
#include "watchdog.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PENDING_LIMIT 65536 /* unprocessed bytes behind a running request */
#define QUEUE_LIMIT 131072  /* bytes the client has not taken: no further request is started */
#define COPY_LIMIT 16384    /* a longer body is written from where it is */
#define TURN_EXCHANGES 64   /* that a connection begins in one turn of the loop */
#define TURN_TICKS 2        /* of the watchdog: a turn is over after 5 to 10 ms */
#define LEAVE_MS                                                                                   \
    200 /* a client that ended its side may wait for the answer, or have gone: it has so long */
#define OUT_KEPT 65536 /* memory the loop's out buffer keeps between turns */
#define LINGER_MS 5000 /* a client may take so long to end its side */
#define QUIET_MS 500   /* and say nothing for so long, when the server stops */
#define LATE_MS 250    /* a deadline that fires later than this was held up by ourselves */

struct write {
    uv_write_t req;
    struct peri_conn *conn;
    size_t len;
    char bytes[];
};

struct turn;

static void continue_conn(struct peri_conn *conn, struct turn *turn);
static void continue_now(struct peri_conn *conn);

static struct peri_conn *conn_of(void *handle)
{
    return ((uv_handle_t *) handle)->data;
}

/* --- deadlines ---------------------------------------------------------------------------------
 */

void peri_conn_set_read_due(struct peri_conn *conn, uint64_t due)
{
    conn->read_due = due;
    if (due != 0 && (!peri_timer_runs(&conn->read_timer) || conn->read_timer.due > due))
        peri_timer_start(&conn->loop->timers, &conn->read_timer, due);
}

/* Bytes that were sent and of which the client's system has yet to say that it has them. */
static size_t unread_bytes(const struct peri_conn *conn)
{
    uv_os_fd_t fd;
    int unread = 0;
    if (uv_fileno((const uv_handle_t *) &conn->tcp, &fd) != 0 || ioctl(fd, SIOCOUTQ, &unread) != 0)
        return 0;
    return (size_t) unread;
}

/* All that the client has not got: our system may keep megabytes, and takes no more of ours until
 * it is rid of a good part of them. */
static size_t untaken_bytes(const struct peri_conn *conn)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *) &conn->tcp) + unread_bytes(conn);
}

/* Until when a lingering connection waits for the next word of its client. A server that stops is
 * not kept by clients that have their answer and never close. */
static uint64_t end_of_quiet(const struct peri_conn *conn)
{
    uint64_t quiet = uv_now(&conn->loop->uv) + QUIET_MS;
    return conn->loop->stopping && quiet < conn->linger_until ? quiet : conn->linger_until;
}

static void on_read_timer(struct peri_timer *timer)
{
    struct peri_conn *conn = peri_container_of(timer, struct peri_conn, read_timer);
    uint64_t now = uv_now(&conn->loop->uv);
    if (conn->read_due == 0)
        return;
    if (now > conn->read_due + LATE_MS)
        conn->read_due =
            now + LATE_MS; /* it was the loop that was busy: look at the socket first */
    if (conn->read_due > now) {
        peri_timer_start(&conn->loop->timers, timer, conn->read_due);
        return;
    }
    conn->read_due = 0;
    if (conn->state == PERI_CONN_OPEN && conn->exchange == NULL && conn->protocol == NULL &&
        conn->queued > 0)
        return; /* it takes its answer still, and is idle only when it has all of it */
    if (conn->state == PERI_CONN_LINGERING && now < conn->linger_until && unread_bytes(conn) > 0)
        peri_conn_set_read_due(conn, end_of_quiet(conn));
    else if (conn->state == PERI_CONN_OPEN && conn->exchange != NULL && !conn->ended)
        peri_exchange_refuse(conn->exchange, 408);
    else
        peri_conn_close(conn);
}

static void start_write_timer(struct peri_conn *conn)
{
    uv_update_time(&conn->loop->uv); /* a handler may have computed since */
    conn->untaken_before = untaken_bytes(conn);
    peri_timer_start(&conn->loop->timers, &conn->write_timer,
                     uv_now(&conn->loop->uv) + conn->loop->vm->app.limits.write_timeout_ms);
}

static void on_write_timer(struct peri_timer *timer)
{
    struct peri_conn *conn = peri_container_of(timer, struct peri_conn, write_timer);
    if (untaken_bytes(conn) < conn->untaken_before)
        start_write_timer(conn); /* slow, but it takes bytes */
    else
        peri_conn_reset(conn);
}

/* --- the end -----------------------------------------------------------------------------------
 */

static void on_closed(uv_handle_t *handle)
{
    struct peri_conn *conn = conn_of(handle);
    struct peri_loop *loop = conn->loop;
    peri_list_remove(&conn->link);
    peri_buf_deinit(&conn->pending);
    free(conn);
    peri_loop_conn_closed(loop);
}

/* Everything but the handle itself. */
static void detach(struct peri_conn *conn)
{
    struct peri_loop *loop = conn->loop;
    conn->state = PERI_CONN_CLOSING;
    peri_timer_stop(&loop->timers, &conn->read_timer);
    peri_timer_stop(&loop->timers, &conn->write_timer);
    peri_list_remove(&conn->turn);
    if (loop->out_conn == conn) {
        loop->out_conn = NULL;
        peri_buf_reset(&loop->out, OUT_KEPT);
    }
    if (conn->exchange != NULL) {
        struct peri_exchange *exchange = conn->exchange;
        conn->exchange = NULL;
        peri_exchange_abort(exchange, "the client closed the connection");
    }
    if (conn->protocol != NULL) {
        const struct peri_protocol *protocol = conn->protocol;
        conn->protocol = NULL;
        protocol->closed(conn->protocol_context);
    }
}

void peri_conn_close(struct peri_conn *conn)
{
    if (conn->state == PERI_CONN_CLOSING)
        return;
    detach(conn);
    uv_close((uv_handle_t *) &conn->tcp, on_closed);
}

void peri_conn_reset(struct peri_conn *conn)
{
    if (conn->state == PERI_CONN_CLOSING)
        return;
    detach(conn);
    if (uv_tcp_close_reset(&conn->tcp, on_closed) != 0)
        uv_close((uv_handle_t *) &conn->tcp, on_closed);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct peri_conn *conn = req->data;
    free(req);
    if (status < 0 && status != UV_ECANCELED)
        peri_conn_close(conn);
}

/* Ends our side and reads on until the client has ended its own: closing with unread bytes would
 * send a reset, which can take the answer away from a client that is still sending. */
static void linger(struct peri_conn *conn)
{
    uv_shutdown_t *req = conn->ended ? NULL : malloc(sizeof(*req));
    if (req == NULL) {
        peri_conn_close(conn);
        return;
    }
    req->data = conn;
    if (uv_shutdown(req, (uv_stream_t *) &conn->tcp, on_shutdown) != 0) {
        free(req);
        peri_conn_close(conn);
        return;
    }
    conn->state = PERI_CONN_LINGERING;
    peri_buf_deinit(&conn->pending);
    conn->linger_until = uv_now(&conn->loop->uv) + LINGER_MS;
    peri_conn_set_read_due(conn, end_of_quiet(conn));
    peri_conn_update_reading(conn);
}

/* --- writing -----------------------------------------------------------------------------------
 */

static void on_written(uv_write_t *req, int status)
{
    struct write *write = peri_container_of(req, struct write, req);
    struct peri_conn *conn = write->conn;
    conn->queued -= write->len;
    free(write);
    if (conn->state == PERI_CONN_CLOSING)
        return;
    if (status < 0) {
        peri_conn_close(conn);
        return;
    }
    if (conn->queued > 0) {
        start_write_timer(conn);
        return;
    }
    peri_timer_stop(&conn->loop->timers, &conn->write_timer);
    if (conn->protocol != NULL)
        conn->protocol->drained(conn->protocol_context);
    else if (conn->exchange != NULL)
        peri_exchange_on_drain(conn->exchange);
    if (conn->state == PERI_CONN_OPEN)
        continue_now(conn);
}

/* Copies what the socket did not take; it is written when there is room. */
static void queue(struct peri_conn *conn, const uv_buf_t *bufs, unsigned count, size_t skip)
{
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += bufs[i].len;
    len -= skip;

    struct write *write = malloc(sizeof(*write) + len);
    if (write == NULL) {
        peri_conn_close(conn);
        return;
    }
    write->conn = conn;
    write->len = len;
    char *to = write->bytes;
    for (unsigned i = 0; i < count; i++) {
        size_t drop = skip < bufs[i].len ? skip : bufs[i].len;
        memcpy(to, bufs[i].base + drop, bufs[i].len - drop);
        to += bufs[i].len - drop;
        skip -= drop;
    }
    uv_buf_t rest = {.base = write->bytes, .len = len};
    if (uv_write(&write->req, (uv_stream_t *) &conn->tcp, &rest, 1, on_written) != 0) {
        free(write);
        peri_conn_close(conn);
        return;
    }
    bool first = conn->queued == 0;
    conn->queued += len;
    if (first)
        start_write_timer(conn);
}

static void flush(struct peri_conn *conn, const char *body, size_t body_len)
{
    struct peri_loop *loop = conn->loop;
    uv_buf_t bufs[2] = {
        {.base = loop->out.data, .len = loop->out.len},
        {.base = (char *) body, .len = body_len}, /* may be more than uv_buf_init() takes */
    };
    unsigned count = body_len > 0 ? 2 : 1;
    size_t total = loop->out.len + body_len;
    loop->out_conn = NULL;
    if (total == 0)
        return;

    int written =
        conn->queued > 0 ? UV_EAGAIN : uv_try_write((uv_stream_t *) &conn->tcp, bufs, count);
    if (written < 0 && written != UV_EAGAIN)
        peri_conn_close(conn);
    else if (written < 0 || (size_t) written < total)
        queue(conn, bufs, count, written < 0 ? 0 : (size_t) written);
    peri_buf_reset(&loop->out, OUT_KEPT);
}

struct peri_buf *peri_conn_out(struct peri_conn *conn)
{
    struct peri_loop *loop = conn->loop;
    if (loop->out_conn != NULL && loop->out_conn != conn)
        flush(loop->out_conn, NULL, 0);
    loop->out_conn = conn;
    return &loop->out;
}

void peri_conn_send(struct peri_conn *conn, const char *body, size_t body_len)
{
    if (conn->state != PERI_CONN_OPEN)
        return;
    struct peri_buf *out = peri_conn_out(conn);
    if (body_len <= COPY_LIMIT) {
        peri_buf_add(out, body, body_len);
        if (!conn->processing || out->len >= OUT_KEPT)
            flush(conn, NULL, 0);
    } else {
        flush(conn, body, body_len);
    }
}

bool peri_conn_is_full(const struct peri_conn *conn)
{
    return conn->queued > 0;
}

/* --- reading -----------------------------------------------------------------------------------
 */

/* Takes the PROXY header off the front. Returns how many bytes it has, 0 while it is not complete;
 * what is none, or comes from somebody who is no proxy of ours, ends the connection. */
static size_t take_proxy_header(struct peri_conn *conn, const char *bytes, size_t len)
{
    size_t used = 0;
    enum peri_proxy_outcome outcome = PERI_PROXY_BAD;
    if (peri_networks_contain(&conn->loop->config->trusted, &conn->peer))
        outcome = peri_proxy_read(bytes, len, &conn->peer, &used);
    conn->expects_proxy = outcome == PERI_PROXY_MORE;
    if (outcome == PERI_PROXY_BAD)
        peri_conn_reset(conn);
    return used;
}

/* What a connection may use up in one turn. */
struct turn {
    unsigned exchanges;
    unsigned ticks;
};

static struct turn begin_turn(void)
{
    return (struct turn){.ticks = peri_watchdog.ticks};
}

static bool turn_is_over(const struct turn *turn)
{
    return turn->exchanges >= TURN_EXCHANGES || peri_watchdog.ticks - turn->ticks >= TURN_TICKS;
}

/* The others first: the connection goes on when the loop has looked at them. */
static void wait_for_turn(struct peri_conn *conn)
{
    if (!peri_list_empty(&conn->turn))
        return;
    peri_list_append(&conn->loop->turns, &conn->turn);
    peri_loop_has_turns(conn->loop);
}

static void process(struct peri_conn *conn, const char *bytes, size_t len, bool from_pending,
                    struct turn *turn)
{
    size_t at = 0;
    conn->processing = true;
    if (conn->expects_proxy)
        at = take_proxy_header(conn, bytes, len);
    while (!conn->expects_proxy && conn->state == PERI_CONN_OPEN && at < len) {
        if (conn->exchange == NULL && conn->protocol != NULL) {
            conn->protocol->data(conn->protocol_context, bytes + at, len - at);
            at = len;
            break;
        }
        if (conn->exchange == NULL) {
            if (conn->close_after_write || conn->queued > QUEUE_LIMIT || turn_is_over(turn))
                break;
            turn->exchanges++;
            conn->exchange = peri_exchange_begin(conn);
        } else if (conn->exchange->complete) {
            break;
        }
        at += peri_exchange_feed(conn->exchange, bytes + at, len - at);
    }
    conn->processing = false;
    if (conn->state != PERI_CONN_OPEN)
        return;
    if (from_pending)
        peri_buf_consume(&conn->pending, at);
    else
        peri_buf_add(&conn->pending, bytes + at, len - at);
    if (conn->loop->out_conn == conn)
        flush(conn, NULL, 0);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct peri_conn *conn = conn_of(stream);
    if (nread == 0)
        return;
    if (nread < 0) {
        conn->ended = true;
        conn->reading = false;
        uv_read_stop(stream);
        /* A client may end its side and still read the answer to what it sent completely. One of
         * server-sent events never does: it is gone, which their endless streams must learn. */
        bool answer_due = nread == UV_EOF && conn->state == PERI_CONN_OPEN &&
                          conn->exchange != NULL && conn->exchange->complete &&
                          conn->exchange->ping_ms == 0;
        bool writing = nread == UV_EOF && conn->queued > 0 && conn->state == PERI_CONN_OPEN;
        if (!answer_due && !writing)
            peri_conn_close(conn);
        else if (conn->state == PERI_CONN_OPEN)
            continue_now(conn);
        return;
    }
    if (conn->state == PERI_CONN_LINGERING) {
        peri_conn_set_read_due(conn, end_of_quiet(conn));
        return;
    }
    struct turn turn = begin_turn();
    if (!peri_list_empty(&conn->turn)) { /* it has had its turn */
        peri_buf_add(&conn->pending, buf->base, (size_t) nread);
        peri_conn_update_reading(conn);
        return;
    }
    if (conn->pending.len > 0) {
        peri_buf_add(&conn->pending, buf->base, (size_t) nread);
        process(conn, conn->pending.data, conn->pending.len, true, &turn);
    } else {
        process(conn, buf->base, (size_t) nread, false, &turn);
    }
    if (conn->state == PERI_CONN_OPEN)
        continue_conn(conn, &turn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void) suggested;
    struct peri_loop *loop = conn_of(handle)->loop;
    *buf = uv_buf_init(loop->read_buffer, PERI_READ_BUFFER_SIZE);
}

void peri_conn_update_reading(struct peri_conn *conn)
{
    bool want = !conn->ended && conn->state != PERI_CONN_CLOSING;
    if (conn->state == PERI_CONN_OPEN && want) {
        want = conn->pending.len < PENDING_LIMIT && conn->queued <= QUEUE_LIMIT &&
               (conn->exchange == NULL || peri_body_has_room(conn->exchange));
    }
    if (want == conn->reading)
        return;
    conn->reading = want;
    if (want)
        uv_read_start((uv_stream_t *) &conn->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *) &conn->tcp);
}

/* What comes next, whenever something is over: the next request, idling or the end. */
static void continue_conn(struct peri_conn *conn, struct turn *turn)
{
    while (conn->state == PERI_CONN_OPEN && conn->exchange == NULL && !conn->expects_proxy &&
           conn->pending.len > 0 && !conn->close_after_write && conn->queued <= QUEUE_LIMIT) {
        if (turn_is_over(turn)) {
            wait_for_turn(conn);
            break;
        }
        process(conn, conn->pending.data, conn->pending.len, true, turn);
    }
    if (conn->state != PERI_CONN_OPEN)
        return;

    if (conn->exchange == NULL && conn->protocol == NULL && conn->pending.len == 0) {
        if (conn->queued == 0 && (conn->close_after_write || conn->ended)) {
            linger(conn);
            return;
        }
        peri_buf_deinit(&conn->pending);
        peri_conn_set_read_due(conn, uv_now(&conn->loop->uv) +
                                         conn->loop->vm->app.limits.keep_alive_timeout_ms);
    } else if (conn->exchange == NULL && conn->close_after_write && conn->queued == 0) {
        linger(conn);
        return;
    } else if (conn->ended && conn->exchange != NULL && conn->read_due == 0 &&
               peri_exchange_ends_with_client(conn->exchange)) {
        peri_conn_set_read_due(conn, uv_now(&conn->loop->uv) + LEAVE_MS);
    }
    peri_conn_update_reading(conn);
}

static void continue_now(struct peri_conn *conn)
{
    struct turn turn = begin_turn();
    continue_conn(conn, &turn);
}

void peri_conn_serve_turns(struct peri_loop *loop)
{
    struct peri_list turns; /* those who want another one come after the I/O that is ready then */
    peri_list_init(&turns);
    peri_list_take(&turns, &loop->turns);
    struct peri_list *link;
    while ((link = peri_list_pop(&turns)) != NULL) {
        struct peri_conn *conn = peri_container_of(link, struct peri_conn, turn);
        if (conn->state == PERI_CONN_OPEN)
            continue_now(conn);
    }
}

void peri_conn_exchange_over(struct peri_conn *conn, bool keep_alive)
{
    conn->exchange = NULL;
    conn->read_due = 0;
    if (!keep_alive)
        conn->close_after_write = true;
    if (!conn->processing)
        continue_now(conn);
}

void peri_conn_exchange_left(struct peri_conn *conn, bool keep_alive)
{
    conn->exchange = NULL;
    conn->read_due = 0;
    if (!keep_alive)
        conn->close_after_write = true;
    wait_for_turn(conn);
}

void peri_conn_take_over(struct peri_conn *conn, const struct peri_protocol *protocol,
                         void *context)
{
    conn->protocol = protocol;
    conn->protocol_context = context;
}

void peri_conn_stop(struct peri_conn *conn)
{
    if (conn->state == PERI_CONN_LINGERING)
        peri_conn_set_read_due(conn, end_of_quiet(conn));
    else if (conn->exchange == NULL && conn->protocol == NULL && conn->queued == 0)
        peri_conn_close(conn);
    else
        conn->close_after_write = conn->exchange == NULL;
}

void peri_conn_open(struct peri_loop *loop, int fd, const union peri_address *peer)
{
    struct peri_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL || uv_tcp_init(&loop->uv, &conn->tcp) != 0) {
        free(conn);
        close(fd);
        peri_server_conn_closed(loop->server);
        return;
    }
    peri_list_init(&conn->turn);
    conn->loop = loop;
    conn->peer = *peer;
    conn->expects_proxy = loop->config->proxy_protocol;
    conn->tcp.data = conn;
    conn->read_timer.fire = on_read_timer;
    conn->write_timer.fire = on_write_timer;
    peri_list_append(&loop->conns, &conn->link);
    atomic_fetch_add_explicit(&loop->conn_count, 1, memory_order_relaxed);
    if (uv_tcp_open(&conn->tcp, fd) != 0) {
        close(fd);
        peri_conn_close(conn);
        return;
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    peri_conn_set_read_due(conn, uv_now(&loop->uv) + loop->vm->app.limits.head_timeout_ms);
    peri_conn_update_reading(conn);
}
