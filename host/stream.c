#include "stream.h"

#include <stdio.h>
#include <stdlib.h>

#define READ_SIZE 65536
#define KEEP_IDLE 4096 /* memory that an empty buffer keeps */

/* --- those who wait ----------------------------------------------------------------------------
 */

static void forget(struct peri_stream_wait *wait)
{
    struct peri_stream *stream = wait->stream;
    if (stream->reader == wait)
        stream->reader = NULL;
    else
        peri_list_remove(&wait->link);
    peri_timer_stop(stream->timers, &wait->timer);
    wait->stream = NULL;
}

static void wake(struct peri_stream_wait *wait, int status)
{
    forget(wait);
    wait->wake(wait, status);
}

static void wake_writers(struct peri_stream *stream)
{
    struct peri_list *link;
    while ((link = peri_list_first(&stream->writers)) != NULL) {
        struct peri_stream_wait *wait = peri_container_of(link, struct peri_stream_wait, link);
        if (stream->broken == 0 && wait->until > stream->sent)
            return;
        wake(wait, wait->until > stream->sent ? stream->broken : 0);
    }
}

static void wake_reader(struct peri_stream *stream)
{
    struct peri_stream_wait *reader = stream->reader;
    if (reader == NULL)
        return;
    size_t len = 0;
    const char *bytes = peri_stream_bytes(stream, &len);
    if (reader->enough(reader, bytes, len))
        wake(reader, 0);
    else if (stream->ended != 0)
        wake(reader, stream->ended);
}

static void break_off(struct peri_stream *stream, int status)
{
    if (stream->broken == 0)
        stream->broken = status;
    wake_writers(stream);
}

void peri_stream_leave(struct peri_stream_wait *wait)
{
    struct peri_stream *stream = wait->stream;
    if (stream == NULL)
        return;
    bool half = wait != stream->reader && wait->until > stream->sent;
    forget(wait);
    if (half)
        break_off(stream, UV_EPIPE);
}

static void on_timeout(struct peri_timer *timer)
{
    struct peri_stream_wait *wait = peri_container_of(timer, struct peri_stream_wait, timer);
    peri_stream_leave(wait);
    wait->wake(wait, UV_ETIMEDOUT);
}

static void await(struct peri_stream *stream, struct peri_stream_wait *wait, uint64_t timeout_ms)
{
    wait->stream = stream;
    wait->timer.fire = on_timeout;
    if (timeout_ms == 0)
        return;
    uv_loop_t *loop = stream->uv.handle.loop;
    uv_update_time(loop); /* the task may have computed since the loop looked */
    peri_timer_start(stream->timers, &wait->timer, uv_now(loop) + timeout_ms);
}

/* --- sending -----------------------------------------------------------------------------------
 */

static void flush(struct peri_stream *stream);

static void on_written(uv_write_t *write, int status)
{
    struct peri_stream *stream = write->data;
    stream->writing = false;
    if (status == 0) {
        stream->sent += stream->flight.len;
        peri_buf_reset(&stream->flight, KEEP_IDLE);
        flush(stream);
    } else {
        break_off(stream, status);
    }
    wake_writers(stream);
}

static void on_shutdown(uv_shutdown_t *shut, int status)
{
    struct peri_stream *stream = shut->data;
    if (status < 0)
        break_off(stream, status);
    else
        stream->sent++;
    wake_writers(stream);
}

static void hang_up(struct peri_stream *stream);

static int end_sending(struct peri_stream *stream)
{
    stream->shutdown = true;
    if (stream->uv.handle.type == UV_TCP || uv_is_readable(&stream->uv.stream))
        return uv_shutdown(&stream->shut, &stream->uv.stream, on_shutdown);
    hang_up(stream); /* a pipe knows no half of a connection */
    stream->sent++;
    wake_writers(stream);
    return 0;
}

/* Gives libuv what waits in `out`, then the end. */
static void flush(struct peri_stream *stream)
{
    if (stream->writing || stream->closing || stream->broken != 0)
        return;
    int rc = 0;
    if (stream->out.len > 0) {
        struct peri_buf empty = stream->flight;
        stream->flight = stream->out;
        stream->out = empty;
        uv_buf_t bytes = {.base = stream->flight.data, .len = stream->flight.len};
        rc = uv_write(&stream->write, &stream->uv.stream, &bytes, 1, on_written);
        stream->writing = rc == 0;
    } else if (stream->ending && !stream->shutdown) {
        rc = end_sending(stream);
    }
    if (rc < 0)
        break_off(stream, rc);
}

/* Offers bytes to the kernel directly, when nothing waits before them. Returns how many it took, or
 * UV_E*. */
static ssize_t try_send(struct peri_stream *stream, const char *bytes, size_t len)
{
    if (stream->writing || stream->out.len > 0 || len == 0)
        return 0;
    uv_buf_t buf = uv_buf_init((char *) bytes, (unsigned) (len > INT32_MAX ? INT32_MAX : len));
    int taken = uv_try_write(&stream->uv.stream, &buf, 1);
    return taken == UV_EAGAIN ? 0 : taken;
}

static int send_wire(struct peri_stream *stream, const char *bytes, size_t len)
{
    ssize_t taken = try_send(stream, bytes, len);
    if (taken < 0) {
        break_off(stream, (int) taken);
        return (int) taken;
    }
    stream->queued += len;
    stream->sent += (uint64_t) taken;
    peri_buf_add(&stream->out, bytes + taken, len - (size_t) taken);
    flush(stream);
    return stream->broken;
}

int peri_stream_send(struct peri_stream *stream, const char *bytes, size_t len)
{
    if (stream->closing)
        return UV_ECANCELED;
    if (stream->broken != 0 || stream->ending)
        return stream->broken != 0 ? stream->broken : UV_EPIPE;
    if (stream->filter == NULL)
        return send_wire(stream, bytes, len);
    struct peri_buf wire = {0};
    int rc = stream->filter->send(stream->filter, bytes, len, &wire);
    if (rc == 0)
        rc = send_wire(stream, wire.data, wire.len);
    peri_buf_deinit(&wire);
    return rc;
}

int peri_stream_finish(struct peri_stream *stream)
{
    if (stream->closing)
        return UV_ECANCELED;
    if (stream->broken != 0 || stream->ending)
        return stream->broken;
    if (stream->filter != NULL && stream->filter->finish != NULL) {
        struct peri_buf wire = {0};
        stream->filter->finish(stream->filter, &wire);
        send_wire(stream, wire.data, wire.len);
        peri_buf_deinit(&wire);
    }
    stream->ending = true;
    stream->queued++;
    flush(stream);
    return stream->broken;
}

void peri_stream_await_sent(struct peri_stream *stream, struct peri_stream_wait *wait,
                            uint64_t timeout_ms)
{
    peri_list_init(&wait->link);
    await(stream, wait, timeout_ms);
    wait->until = stream->queued;
    peri_list_append(&stream->writers, &wait->link);
    wake_writers(stream);
}

/* --- receiving ---------------------------------------------------------------------------------
 */

static void stop_reading(struct peri_stream *stream)
{
    if (stream->reading)
        uv_read_stop(&stream->uv.stream);
    stream->reading = false;
}

static void end_reading(struct peri_stream *stream, int status)
{
    if (stream->ended == 0)
        stream->ended = status;
    stop_reading(stream);
}

/* Has the filter look at `raw`. */
static void filter_raw(struct peri_stream *stream)
{
    struct peri_buf wire = {0};
    int rc = stream->filter->receive(stream->filter, stream->raw.data, stream->raw.len, &stream->in,
                                     &wire);
    peri_buf_reset(&stream->raw, KEEP_IDLE);
    if (wire.len > 0 && stream->broken == 0 && !stream->ending)
        send_wire(stream, wire.data, wire.len);
    peri_buf_deinit(&wire);
    if (rc < 0)
        end_reading(stream, rc);
}

/* Moves what is left to the front once that is the smaller part. */
static void drop_taken(struct peri_stream *stream)
{
    if (stream->taken <= stream->in.len / 2)
        return;
    peri_buf_consume(&stream->in, stream->taken);
    stream->taken = 0;
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct peri_stream *stream = handle->data;
    struct peri_buf *target = stream->filter != NULL ? &stream->raw : &stream->in;
    (void) size;
    drop_taken(stream);
    *buf = uv_buf_init(peri_buf_reserve(target, READ_SIZE), READ_SIZE);
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buf)
{
    struct peri_stream *stream = handle->data;
    (void) buf;
    if (count == UV_EOF && stream->filter != NULL && stream->filter->cut != NULL)
        count = stream->filter->cut(stream->filter);
    if (count < 0) {
        end_reading(stream, (int) count);
    } else if (stream->filter == NULL) {
        stream->in.len += (size_t) count;
    } else if (count > 0) {
        stream->raw.len += (size_t) count;
        filter_raw(stream);
    }
    wake_reader(stream);
    if (stream->reader == NULL && stream->in.len - stream->taken >= PERI_STREAM_AHEAD)
        stop_reading(stream);
}

void peri_stream_await_bytes(struct peri_stream *stream, struct peri_stream_wait *wait,
                             uint64_t timeout_ms)
{
    if (stream->closing) {
        wait->wake(wait, UV_ECANCELED);
        return;
    }
    await(stream, wait, timeout_ms);
    stream->reader = wait;
    if (stream->ended == 0 && !stream->reading) {
        int rc = uv_read_start(&stream->uv.stream, on_alloc, on_read);
        stream->reading = rc == 0;
        if (rc < 0)
            stream->ended = rc;
    }
    wake_reader(stream);
}

void peri_stream_take(struct peri_stream *stream, size_t len)
{
    stream->taken += len;
    if (stream->taken < stream->in.len)
        return;
    stream->taken = 0;
    peri_buf_reset(&stream->in, KEEP_IDLE);
}

int peri_stream_set_filter(struct peri_stream *stream, struct peri_filter *filter)
{
    stream->filter = filter;
    peri_buf_consume(&stream->in, stream->taken);
    stream->taken = 0;
    struct peri_buf empty = stream->raw; /* what was read ahead is the filter's */
    stream->raw = stream->in;
    stream->in = empty;
    filter_raw(stream);
    return stream->ended == UV_EOF ? 0 : stream->ended;
}

/* --- life --------------------------------------------------------------------------------------
 */

struct peri_stream *peri_stream_new(uv_loop_t *loop, struct peri_timers *timers,
                                    uv_handle_type type)
{
    struct peri_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        fputs("perigee: out of memory (a stream)\n", stderr);
        abort();
    }
    if (type == UV_TCP)
        uv_tcp_init(loop, &stream->uv.tcp);
    else
        uv_pipe_init(loop, &stream->uv.pipe, 0);
    stream->uv.handle.data = stream;
    stream->write.data = stream;
    stream->shut.data = stream;
    stream->timers = timers;
    peri_list_init(&stream->writers);
    return stream;
}

static void free_stream(struct peri_stream *stream)
{
    if (stream->filter != NULL)
        stream->filter->free(stream->filter);
    peri_buf_deinit(&stream->in);
    peri_buf_deinit(&stream->raw);
    peri_buf_deinit(&stream->out);
    peri_buf_deinit(&stream->flight);
    free(stream);
}

static void on_closed(uv_handle_t *handle)
{
    struct peri_stream *stream = handle->data;
    stream->gone = true;
    if (stream->closing)
        free_stream(stream);
}

static void hang_up(struct peri_stream *stream)
{
    if (!stream->hung_up)
        uv_close(&stream->uv.handle, on_closed);
    stream->hung_up = true;
}

void peri_stream_close(struct peri_stream *stream)
{
    if (stream->closing)
        return;
    stream->closing = true;
    hang_up(stream);
    if (stream->reader != NULL)
        wake(stream->reader, UV_ECANCELED);
    break_off(stream, UV_ECANCELED);
    if (stream->gone)
        free_stream(stream);
}
