#include "log.h"

#include "buf.h"
#include "json.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_LIMIT (4U << 20) /* bytes that may wait in each stream */
#define DRAIN_MS 2000          /* at the end, for somebody to read on */
#define BLOCKED_MS 100         /* between looks at a stream that is blocked */
#define PIECE 4096             /* PIPE_BUF */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t writer;
    enum peri_log_format format;
    bool running;
    bool closing;
    bool one; /* both streams are the same pipe or file: the lines go there in their order */
    struct peri_buf waiting[2];
    uint64_t dropped;
    struct peri_buf *diverted; /* takes the error stream's lines; NULL: they are written */
} log = {
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .format = PERI_LOG_OFF, /* nobody logs requests before the log is open */
};

static int descriptor(int stream)
{
    return stream == PERI_LOG_ACCESS ? STDOUT_FILENO : STDERR_FILENO;
}

/* Writes all of it, waiting for the reader; gives up when `patience_ms` pass without progress (-1:
 * never) or nobody can read any more. */
static void write_all(int fd, const char *bytes, size_t len, int patience_ms)
{
    while (len > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        if (poll(&ready, 1, patience_ms) == 0)
            return;
        ssize_t written = write(fd, bytes, len);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (written > 0) {
            bytes += written;
            len -= (size_t) written;
        }
    }
}

static void add_printable(struct peri_buf *line, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char) text[i];
        if (c == '\n') /* indented, so that text of a client's cannot pass for a line of its own */
            peri_buf_add_lit(line, "\n  ");
        else if ((c < 0x20 && c != '\t') || c == 0x7f)
            peri_buf_addf(line, "\\x%02x", c);
        else
            peri_buf_add_byte(line, (char) c);
    }
}

/* As a JSON string; a byte that is no UTF-8 becomes U+FFFD. */
static void add_json(struct peri_buf *line, const char *text, size_t len)
{
    if (peri_json_add_string(line, text, len))
        return;
    struct peri_buf clean = {0};
    size_t valid = 0;
    while ((valid = peri_utf8_valid(text, len)) < len) {
        peri_buf_add(&clean, text, valid);
        peri_buf_add_lit(&clean, "\xEF\xBF\xBD");
        text += valid + 1;
        len -= valid + 1;
    }
    peri_buf_add(&clean, text, len);
    peri_json_add_string(line, clean.data, clean.len);
    peri_buf_deinit(&clean);
}

static void add_message(struct peri_buf *line, const char *level, const char *text, size_t len)
{
    if (log.format == PERI_LOG_JSON) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        peri_buf_addf(line,
                      "{\"time\":%lld.%03ld,\"level\":\"%s\",\"message\":", (long long) now.tv_sec,
                      now.tv_nsec / 1000000, level);
        add_json(line, text, len);
        peri_buf_add_lit(line, "}\n");
    } else {
        peri_buf_add_lit(line, "perigee: ");
        add_printable(line, text, len);
        peri_buf_add_byte(line, '\n');
    }
}

static void add_dropped(struct peri_buf *lines, uint64_t dropped)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%llu log lines dropped", (unsigned long long) dropped);
    add_message(lines, "warning", text, (size_t) len);
}

/* How much to write at a time: whole lines, as far as they fit into a piece, because others may
 * write to the same pipe. */
static size_t piece(const char *bytes, size_t len)
{
    if (len <= PIECE)
        return len;
    const char *end = memrchr(bytes, '\n', PIECE);
    return end != NULL ? (size_t) (end - bytes) + 1 : PIECE;
}

/* What the writer has taken out of the queue of one stream. */
struct taken {
    struct peri_buf bytes;
    size_t at; /* up to here they are written */
};

/* Writes what the streams take within `ms`; a stream that nobody reads does not hold up the other.
 * Pieces are so small that a pipe which polls as writable takes them whole. Returns whether any was
 * written. */
static bool write_some(struct taken taken[2], int ms)
{
    struct pollfd ready[2] = {{.fd = -1, .events = POLLOUT}, {.fd = -1, .events = POLLOUT}};
    for (int i = 0; i < 2; i++) {
        if (taken[i].at < taken[i].bytes.len)
            ready[i].fd = descriptor(i);
    }
    if (poll(ready, 2, ms) <= 0)
        return false;
    for (int i = 0; i < 2; i++) {
        if (ready[i].fd < 0 || ready[i].revents == 0)
            continue;
        const char *bytes = taken[i].bytes.data + taken[i].at;
        ssize_t written = write(ready[i].fd, bytes, piece(bytes, taken[i].bytes.len - taken[i].at));
        if (written > 0)
            taken[i].at += (size_t) written;
        else if (written < 0 && errno != EINTR && errno != EAGAIN)
            taken[i].at = taken[i].bytes.len; /* nobody will read it any more */
        if (taken[i].at == taken[i].bytes.len) {
            peri_buf_reset(&taken[i].bytes, 64 << 10);
            taken[i].at = 0;
        }
    }
    return true;
}

/* Takes over what waits, where the stream has nothing left; the log is locked. Returns whether
 * there is anything to write. */
static bool take_over(struct taken taken[2])
{
    enum peri_log_stream errors = log.one ? PERI_LOG_ACCESS : PERI_LOG_ERROR;
    if (log.dropped > 0 && taken[errors].bytes.len == 0) {
        add_dropped(&log.waiting[errors], log.dropped);
        log.dropped = 0;
    }
    for (int i = 0; i < 2; i++) {
        if (taken[i].bytes.len > 0)
            continue;
        struct peri_buf empty = taken[i].bytes;
        taken[i].bytes = log.waiting[i];
        log.waiting[i] = empty;
    }
    return taken[0].bytes.len > 0 || taken[1].bytes.len > 0;
}

static void *writer_main(void *unused)
{
    (void) unused;
    pthread_setname_np(pthread_self(), "log");
    struct taken taken[2] = {0};
    int patience_ms = DRAIN_MS;
    pthread_mutex_lock(&log.mutex);
    for (;;) {
        while (!take_over(taken) && !log.closing)
            pthread_cond_wait(&log.wake, &log.mutex);
        bool closing = log.closing;
        if ((taken[0].bytes.len == 0 && taken[1].bytes.len == 0) || (closing && patience_ms <= 0))
            break;
        pthread_mutex_unlock(&log.mutex);
        if (write_some(taken, BLOCKED_MS))
            patience_ms = DRAIN_MS;
        else if (closing)
            patience_ms -= BLOCKED_MS;
        pthread_mutex_lock(&log.mutex);
    }
    pthread_mutex_unlock(&log.mutex);
    peri_buf_deinit(&taken[0].bytes);
    peri_buf_deinit(&taken[1].bytes);
    return NULL;
}

void peri_log_set_format(enum peri_log_format format)
{
    log.format = format;
}

static bool is_one_stream(void)
{
    struct stat out, err;
    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 &&
           out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

int peri_log_open(enum peri_log_format format)
{
    peri_log_set_format(format);
    log.one = is_one_stream();
    log.closing = false;
    int rc = pthread_create(&log.writer, NULL, writer_main, NULL);
    log.running = rc == 0;
    return -rc;
}

void peri_log_close(void)
{
    if (!log.running)
        return;
    pthread_mutex_lock(&log.mutex);
    log.closing = true;
    pthread_cond_signal(&log.wake);
    pthread_mutex_unlock(&log.mutex);

    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2 * DRAIN_MS / 1000;
    if (pthread_timedjoin_np(log.writer, NULL, &until) != 0)
        return; /* it hangs in a write nobody takes; the process ends anyway */
    log.running = false;
    peri_buf_deinit(&log.waiting[0]);
    peri_buf_deinit(&log.waiting[1]);
}

void peri_log_divert(struct peri_buf *to)
{
    log.diverted = to;
}

enum peri_log_format peri_log_access_format(void)
{
    return log.format;
}

void peri_log_write(enum peri_log_stream stream, const char *line, size_t len)
{
    if (log.diverted != NULL && stream == PERI_LOG_ERROR) {
        pthread_mutex_lock(&log.mutex);
        if (log.diverted->len + len <= QUEUE_LIMIT)
            peri_buf_add(log.diverted, line, len);
        pthread_mutex_unlock(&log.mutex);
        return;
    }
    if (!log.running) {
        write_all(descriptor(stream), line, len, DRAIN_MS);
        return;
    }
    if (log.one)
        stream = PERI_LOG_ACCESS;
    pthread_mutex_lock(&log.mutex);
    bool idle = log.waiting[0].len == 0 && log.waiting[1].len == 0;
    if (log.waiting[stream].len + len > QUEUE_LIMIT)
        log.dropped++;
    else
        peri_buf_add(&log.waiting[stream], line, len);
    if (idle)
        pthread_cond_signal(&log.wake);
    pthread_mutex_unlock(&log.mutex);
}

static void write_message(const char *level, const char *format, va_list args)
{
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    if (len < 0)
        return;
    struct peri_buf line = {0};
    add_message(&line, level, text, (size_t) len);
    peri_log_write(PERI_LOG_ERROR, line.data, line.len);
    peri_buf_deinit(&line);
    free(text);
}

void peri_log_info(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_message("info", format, args);
    va_end(args);
}

void peri_log_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_message("error", format, args);
    va_end(args);
}

void peri_log_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_message("warning", format, args);
    va_end(args);
}
