#include "client.h"

#include "tls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#define KEEP_BODY 65536 /* memory that an empty body keeps */

static const struct peri_reply_limits limits = {
    .max_head_bytes = 65536,
    .max_headers = 256,
    .max_chunk_ext_bytes = 16384,
};

__attribute__((format(printf, 3, 4))) static void fail(struct peri_client *client, const char *code,
                                                       const char *format, ...)
{
    if (client->code != NULL)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(client->text, sizeof(client->text), format, args);
    va_end(args);
    client->code = code;
}

/* --- what comes --------------------------------------------------------------------------------
 */

static int keep(void *context, const char *bytes, size_t len)
{
    struct peri_client *client = context;
    client->body_bytes += len;
    if (client->body_bytes > client->max_body_bytes)
        return 413;
    peri_buf_add(&client->body, bytes, len);
    return 0;
}

static void check_body(struct peri_client *client, int status)
{
    if (status == 413 && client->body_bytes > client->max_body_bytes)
        fail(client, "EMSGSIZE", "the answer has more than %llu bytes (max_response_bytes)",
             (unsigned long long) client->max_body_bytes);
    else if (status == 413) /* the decoder counts for itself */
        fail(client, "EMSGSIZE",
             "the answer unpacks to more than max_response_bytes, or to "
             "suspiciously many bytes");
    else if (status != 0)
        fail(client, "EPROTO", "the answer is not compressed as it says");
}

static void on_data(struct peri_client *client, const char *bytes, size_t len)
{
    check_body(client, client->inflate != NULL
                           ? peri_inflate_feed(client->inflate, bytes, len, keep, client)
                           : keep(client, bytes, len));
}

static void on_head(struct peri_client *client)
{
    struct peri_reply *reply = &client->reply;
    client->has_head = true;
    if (reply->has_length && reply->content_length > client->max_body_bytes &&
        reply->question != PERI_REPLY_TO_HEAD) {
        fail(client, "EMSGSIZE", "the answer has %llu bytes, of at most %llu (max_response_bytes)",
             (unsigned long long) reply->content_length,
             (unsigned long long) client->max_body_bytes);
        return;
    }
    int at = client->decode ? peri_reply_find(reply, 0, "content-encoding") : -1;
    if (at < 0 || peri_reply_find(reply, at + 1, "content-encoding") >= 0)
        return; /* none, or several layers, which are the caller's business */
    struct peri_span value = reply->headers[at].value;
    int status = 0; /* an encoding that is not known is left as it is */
    client->inflate = peri_inflate_new_answer(peri_reply_at(reply, value), value.len,
                                              client->max_body_bytes, &status);
}

static void on_end(struct peri_client *client)
{
    if (client->inflate != NULL)
        check_body(client, peri_inflate_end(client->inflate));
    client->complete = client->code == NULL;
}

static void take_outcome(struct peri_client *client, enum peri_reply_outcome outcome,
                         const char *data, size_t len)
{
    switch (outcome) {
    case PERI_REPLY_HEAD:
        on_head(client);
        break;
    case PERI_REPLY_DATA:
        on_data(client, data, len);
        break;
    case PERI_REPLY_END:
        on_end(client);
        break;
    case PERI_REPLY_BAD:
        fail(client, "EPROTO", "the answer of the server is refused: %s", client->reply.fault);
        break;
    case PERI_REPLY_MORE:
        break;
    }
}

static void read_reply(struct peri_client *client, const char *bytes, size_t len)
{
    enum peri_reply_outcome outcome = PERI_REPLY_HEAD;
    size_t left = len;
    client->heard = client->heard || len > 0;
    while (outcome != PERI_REPLY_MORE && client->code == NULL && !client->complete) {
        const char *data = NULL;
        size_t data_len = 0;
        outcome = peri_reply_next(&client->reply, &bytes, &left, &data, &data_len);
        take_outcome(client, outcome, data, data_len);
    }
    peri_stream_take(client->stream, len - left);
    client->stray = client->complete ? left : 0;
}

/* Why the stream ended. */
static void fail_stream(struct peri_client *client, int status)
{
    struct peri_tls *tls = peri_tls_of(client->stream->filter);
    const struct peri_tls_fault *fault = tls != NULL ? peri_tls_fault_of(tls) : NULL;
    if (fault != NULL && fault->code != NULL)
        fail(client, fault->code, "%s", fault->text);
    else if (status == UV_EOF)
        fail(client, "ECONNRESET", "the server closed the connection without an answer");
    else
        fail(client, uv_err_name(status), "%s", uv_strerror(status));
}

static void read_end(struct peri_client *client)
{
    int status = client->stream->ended;
    if (status == UV_EOF && client->heard)
        take_outcome(client, peri_reply_cut(&client->reply), NULL, 0);
    else
        fail_stream(client, status);
}

/* Reads what has arrived. */
static void pump(struct peri_client *client)
{
    size_t len = 0;
    const char *bytes = peri_stream_bytes(client->stream, &len);
    if (client->complete || client->code != NULL)
        return;
    read_reply(client, bytes, len);
    if (!client->complete && client->code == NULL && client->stream->ended != 0)
        read_end(client);
}

/* --- waiting -----------------------------------------------------------------------------------
 */

bool peri_client_is_pointless(const struct peri_client *client)
{
    return client->stream == NULL || client->code != NULL || client->stream->broken != 0 ||
           (client->has_head && client->reply.status >= 300);
}

static bool is_there(const struct peri_client *client)
{
    if (client->stream == NULL || client->code != NULL)
        return true;
    switch ((enum peri_client_wait) client->wait) {
    case PERI_CLIENT_SENT:
        return peri_client_is_pointless(client) || peri_stream_is_sent(client->stream);
    case PERI_CLIENT_HEAD:
        return client->has_head;
    case PERI_CLIENT_PIECE:
        return client->body.len > 0 || client->complete;
    case PERI_CLIENT_WHOLE:
        return client->complete;
    case PERI_CLIENT_NOTHING:
    case PERI_CLIENT_PARKED:
        break;
    }
    return false;
}

/* The body of an answer that comes early is not taken before the request is out. */
static bool takes_bytes(const struct peri_client *client)
{
    return client->wait != PERI_CLIENT_SENT || !client->has_head;
}

static bool has_bytes(struct peri_stream_wait *wait, const char *bytes, size_t len)
{
    (void) wait;
    (void) bytes;
    return len > 0;
}

static uint64_t now_of(const struct peri_client *client)
{
    return uv_now(client->stream->uv.handle.loop);
}

static void set_timer(struct peri_client *client, uint64_t after_ms, uint64_t due)
{
    uint64_t at = after_ms != 0 ? now_of(client) + after_ms : 0;
    client->is_last = due != 0 && (at == 0 || due < at);
    if (client->is_last)
        at = due;
    if (at != 0)
        peri_timer_start(client->stream->timers, &client->timer, at);
}

static void stop_waiting(struct peri_client *client)
{
    client->wait = PERI_CLIENT_NOTHING;
    peri_timer_stop(client->stream->timers, &client->timer);
    peri_stream_leave(&client->reader);
    peri_stream_leave(&client->writer);
}

/* Ends the wait, or goes on with it. */
static void proceed(struct peri_client *client)
{
    if (takes_bytes(client))
        pump(client);
    if (is_there(client)) {
        stop_waiting(client);
        client->ready(client);
    } else if (takes_bytes(client) && client->reader.stream == NULL) {
        peri_stream_await_bytes(client->stream, &client->reader, 0);
    }
}

static void on_readable(struct peri_stream_wait *wait, int status)
{
    struct peri_client *client = peri_container_of(wait, struct peri_client, reader);
    (void) status; /* the stream knows */
    if (client->stream == NULL || client->wait == PERI_CLIENT_NOTHING)
        return; /* it is being closed */
    if (client->wait == PERI_CLIENT_PARKED) {
        peri_client_close(client);
        return;
    }
    set_timer(client, client->silence_ms, client->due);
    proceed(client);
}

static void on_sent(struct peri_stream_wait *wait, int status)
{
    struct peri_client *client = peri_container_of(wait, struct peri_client, writer);
    (void) status; /* what the server says, or how its stream ends, tells more */
    if (client->stream != NULL && client->wait != PERI_CLIENT_NOTHING)
        proceed(client);
}

/* Whether the kernel has taken some of what is being sent since this was asked last. */
static bool is_moving(struct peri_client *client)
{
    size_t before = client->unsent;
    client->unsent = uv_stream_get_write_queue_size(&client->stream->uv.stream);
    return client->wait == PERI_CLIENT_SENT && client->unsent < before;
}

static void on_time(struct peri_timer *timer)
{
    struct peri_client *client = peri_container_of(timer, struct peri_client, timer);
    if (client->wait == PERI_CLIENT_PARKED) {
        peri_client_close(client);
        return;
    }
    if (!client->is_last && is_moving(client)) {
        set_timer(client, client->silence_ms, client->due);
        return;
    }
    fail(client, "ETIMEDOUT",
         client->is_last ? "the request took too long (timeout_ms)"
                         : "nothing moved for too long (idle_timeout_ms)");
    proceed(client);
}

/* From now on what the server says arrives, whether somebody waits for it or not: an answer may
 * come before the request is out. */
static void listen_early(struct peri_client *client)
{
    if (client->stream->reading || client->stream->ended != 0)
        return;
    peri_stream_await_bytes(client->stream, &client->reader, 0);
    peri_stream_leave(&client->reader);
}

bool peri_client_await(struct peri_client *client, enum peri_client_wait wait)
{
    if (client->stream != NULL && wait == PERI_CLIENT_SENT && !client->has_head)
        listen_early(client);
    client->wait = (uint8_t) wait;
    if (client->stream != NULL && takes_bytes(client))
        pump(client);
    if (is_there(client)) {
        client->wait = PERI_CLIENT_NOTHING;
        return true;
    }
    uv_update_time(client->stream->uv.handle.loop); /* the task may have computed meanwhile */
    set_timer(client, client->silence_ms, client->due);
    if (wait == PERI_CLIENT_SENT) {
        client->unsent = uv_stream_get_write_queue_size(&client->stream->uv.stream);
        peri_stream_await_sent(client->stream, &client->writer, 0); /* it is not sent: waits */
    }
    if (takes_bytes(client))
        peri_stream_await_bytes(client->stream, &client->reader, 0); /* they are all taken: waits */
    return false;
}

void peri_client_abandon(struct peri_client *client, const char *code, const char *text)
{
    fail(client, code, "%s", text);
    if (client->stream == NULL)
        return;
    stop_waiting(client);
    peri_client_close(client);
}

/* --- requests ----------------------------------------------------------------------------------
 */

void peri_client_init(struct peri_client *client, struct peri_stream *stream,
                      void (*ready)(struct peri_client *client))
{
    *client = (struct peri_client){.stream = stream, .ready = ready};
    client->reader.wake = on_readable;
    client->reader.enough = has_bytes;
    client->writer.wake = on_sent;
    client->timer.fire = on_time;
    peri_reply_init(&client->reply, &limits);
}

static void forget_answer(struct peri_client *client)
{
    peri_inflate_free(client->inflate);
    client->inflate = NULL;
    peri_buf_reset(&client->body, KEEP_BODY);
}

void peri_client_begin(struct peri_client *client, const struct peri_client_terms *terms)
{
    forget_answer(client);
    client->body_bytes = 0;
    client->max_body_bytes = terms->max_body_bytes;
    client->decode = terms->decode;
    client->due = terms->due;
    client->silence_ms = terms->silence_ms;
    client->sent = false;
    client->heard = false;
    client->has_head = false;
    client->complete = false;
    client->stray = 0;
    peri_reply_begin(&client->reply, terms->question);
}

void peri_client_send(struct peri_client *client, const char *bytes, size_t len)
{
    if (client->stream != NULL && client->code == NULL)
        peri_stream_send(client->stream, bytes, len);
}

void peri_client_end(struct peri_client *client)
{
    client->sent = true;
}

void peri_client_close(struct peri_client *client)
{
    struct peri_stream *stream = client->stream;
    if (stream == NULL)
        return;
    bool waited = client->wait != PERI_CLIENT_NOTHING && client->wait != PERI_CLIENT_PARKED;
    client->stream = NULL; /* the wakes that follow mean nothing */
    client->wait = PERI_CLIENT_NOTHING;
    peri_timer_stop(stream->timers, &client->timer);
    fail(client, "ECLOSED", "the connection was closed meanwhile");
    peri_stream_finish(stream); /* TLS says goodbye, if the kernel takes it at once */
    peri_stream_close(stream);
    forget_answer(client);
    peri_buf_deinit(&client->body);
    peri_reply_deinit(&client->reply);
    if (waited)
        client->ready(client);
}

/* --- between requests --------------------------------------------------------------------------
 */

static bool is_reusable(const struct peri_client *client)
{
    return client->stream != NULL && client->code == NULL && client->complete && client->sent &&
           client->stray == 0 && client->reply.keep_alive && client->stream->ended == 0 &&
           client->stream->broken == 0 && peri_stream_is_sent(client->stream);
}

bool peri_client_park(struct peri_client *client, uint64_t idle_ms)
{
    if (!is_reusable(client)) {
        peri_client_close(client);
        return false;
    }
    forget_answer(client);
    client->wait = PERI_CLIENT_PARKED;
    uv_update_time(client->stream->uv.handle.loop);
    set_timer(client, idle_ms, 0);
    peri_stream_await_bytes(client->stream, &client->reader, 0);
    return client->stream != NULL;
}

/* Asks the system: the loop may not have seen yet that the server has closed it. What TLS sends in
 * between (tickets) is not of the server's own. */
static bool is_quiet(const struct peri_stream *stream)
{
    uv_os_fd_t fd = -1;
    char byte = 0;
    if (uv_fileno(&stream->uv.handle, &fd) != 0)
        return false;
    ssize_t seen = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (seen < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK;
    return seen > 0 && stream->filter != NULL;
}

bool peri_client_unpark(struct peri_client *client)
{
    if (client->stream == NULL)
        return false;
    stop_waiting(client);
    if (client->stream->ended == 0 && client->stream->broken == 0 && is_quiet(client->stream))
        return true;
    peri_client_close(client);
    return false;
}

struct peri_stream *peri_client_release(struct peri_client *client)
{
    struct peri_stream *stream = client->stream;
    if (stream == NULL || !client->complete || client->stray > 0 || stream->ended != 0 ||
        stream->broken != 0)
        return NULL;
    client->stream = NULL;
    forget_answer(client);
    peri_buf_deinit(&client->body);
    peri_reply_deinit(&client->reply);
    return stream;
}
