/* Deadlines and sleeps of one loop thread: a binary heap of nodes embedded in their owners, all
 * served by a single libuv timer. A node costs 24 bytes and no libuv handle, so that a hundred
 * thousand sleeping tasks stay cheap and a deadline can be taken back without a close callback.
 *
 * Times are milliseconds on uv_now()'s clock. */
#ifndef PERI_TIMER_H
#define PERI_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct peri_timer {
    uint64_t due;
    void (*fire)(struct peri_timer *timer); /* called once; the node is free to start again */
    uint32_t slot;                          /* index in the heap + 1; 0 while it does not run */
};

struct peri_timers {
    uv_timer_t clock;
    struct peri_timer **heap;
    uint32_t count;
    uint32_t cap;
    bool firing;
};

void peri_timers_open(struct peri_timers *timers, uv_loop_t *loop);

/* No node may run any more. The memory of `timers` belongs to the loop until its handle closed. */
void peri_timers_close(struct peri_timers *timers);

/* Starts, or moves a running node to another time. */
void peri_timer_start(struct peri_timers *timers, struct peri_timer *timer, uint64_t due);
void peri_timer_stop(struct peri_timers *timers, struct peri_timer *timer);

static inline bool peri_timer_runs(const struct peri_timer *timer)
{
    return timer->slot != 0;
}

#endif
