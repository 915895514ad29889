/* Log lines, written by a thread of their own so that a slow terminal or pipe never blocks a loop.
 *
 * Two streams: the access log on standard output, everything else on standard error. Lines wait in
 * a bounded queue; when it is full further lines are counted and dropped, and a line says how many.
 * Every function may be called from any thread. */
#ifndef PERI_LOG_H
#define PERI_LOG_H

#include "buf.h"
#include "config.h"

enum peri_log_stream {
    PERI_LOG_ACCESS,
    PERI_LOG_ERROR,
};

/* Starts the writer. Until then, and after peri_log_close(), lines are written at once. */
int peri_log_open(enum peri_log_format format);

/* For a process that has no writer: its lines are written at once, in this format. */
void peri_log_set_format(enum peri_log_format format);

/* Writes what waits, gives up after some seconds when nobody reads, and ends the writer. */
void peri_log_close(void);

enum peri_log_format peri_log_access_format(void);

/* From here on the lines of the error stream are appended to `to`, for a test that looks at them;
 * NULL ends that. Call it while nobody else logs. */
void peri_log_divert(struct peri_buf *to);

/* Queues bytes that end with a newline. */
void peri_log_write(enum peri_log_stream stream, const char *line, size_t len);

/* One message for the operator on standard error: "perigee: ..." or, as JSON,
 * {"time":...,"level":"error","message":...}. Control characters other than newline and tab are
 * escaped, so that a client cannot forge lines or drive a terminal. */
__attribute__((format(printf, 1, 2))) void peri_log_error(const char *format, ...);

/* The same with the level "info". */
__attribute__((format(printf, 1, 2))) void peri_log_info(const char *format, ...);

/* The same with the level "warning": something to look at, nothing lost. */
__attribute__((format(printf, 1, 2))) void peri_log_warn(const char *format, ...);

#endif
