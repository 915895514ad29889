/* What the process has done, in numbers that Prometheus reads.
 *
 * Counting: each loop thread has its own counters for each route (a path as declared), so nobody
 * ever waits for anybody and no count is lost; only that thread writes them, whoever asks adds them
 * up. They live as long as the process: a reload finds the ones of its routes again. Nothing is
 * counted, and no clock read, until peri_metrics_enable().
 *
 * What a loop alone can know (the memory of its VM, say) it publishes once a second, when it
 * answers the server's beat. */
#ifndef PERI_METRICS_H
#define PERI_METRICS_H

#include "buf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct peri_loop;
struct peri_server;
struct peri_metrics_route;
struct peri_workers;

/* What a loop publishes; written by its thread. */
struct peri_gauges {
    atomic_ullong lua_bytes;
    atomic_ullong tasks;
    atomic_ullong overruns;  /* slices of more than 10 ms, of VMs that have closed included */
    atomic_ullong gc_cycles; /* likewise */
    atomic_ullong lag_ns;    /* from the last beat to its answer */
    atomic_llong in_flight;
    uint64_t closed_overruns; /* of VMs that have closed; the thread's own */
};

/* From any thread, more than once. */
void peri_metrics_enable(void);
bool peri_metrics_enabled(void);

/* The counters of a path, made when it is first asked for. From any thread; lives for ever. NULL
 * names requests that no operation takes. */
struct peri_metrics_route *peri_metrics_route(const char *path);

/* A request on the loop `index` is over. The status of one whose client has gone before its answer
 * is 499. */
void peri_metrics_count(struct peri_metrics_route *route, unsigned index, unsigned method,
                        unsigned status, uint64_t duration_ns);

/* A request has begun, has ended. */
static inline void peri_metrics_begin(struct peri_gauges *gauges)
{
    long long count = atomic_load_explicit(&gauges->in_flight, memory_order_relaxed);
    atomic_store_explicit(&gauges->in_flight, count + 1, memory_order_relaxed);
}

static inline void peri_metrics_end(struct peri_gauges *gauges)
{
    long long count = atomic_load_explicit(&gauges->in_flight, memory_order_relaxed);
    atomic_store_explicit(&gauges->in_flight, count - 1, memory_order_relaxed);
}

/* On the loop's thread: publishes its gauges. `asked_ns` is when the beat was sent. */
void peri_metrics_publish(struct peri_loop *loop, uint64_t asked_ns);

/* Appends everything in the text format, version 0.0.4, on a thread of the server. `server` and
 * `workers` may be NULL. */
void peri_metrics_write(const struct peri_server *server, struct peri_workers *workers,
                        struct peri_buf *out);

#endif
