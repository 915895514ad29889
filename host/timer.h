/* Deadlines and sleeps of one loop thread: a binary heap of nodes embedded in their owners, all
 * served by a single libuv timer. A node costs 24 bytes and no libuv handle, so that a hundred
 * thousand sleeping tasks stay cheap and a deadline can be taken back without a close callback.
 *
 * Times are milliseconds on uv_now()'s clock. Tests may freeze that clock for these timers: then
 * the nodes wait until the clock is advanced. Deadlines are still given on uv_now()'s clock; they
 * are moved to the frozen one. */
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
    bool frozen;
    uint64_t now;   /* while frozen: the time that stands still */
    double epoch_s; /* while frozen: seconds since 1970 at time 0 */
};

void peri_timers_open(struct peri_timers *timers, uv_loop_t *loop);

/* No node may run any more. The memory of `timers` belongs to the loop until its handle closed. */
void peri_timers_close(struct peri_timers *timers);

/* Starts, or moves a running node to another time. */
void peri_timer_start(struct peri_timers *timers, struct peri_timer *timer, uint64_t due);
void peri_timer_stop(struct peri_timers *timers, struct peri_timer *timer);

/* Stops the clock of these timers at the present time, and lets it go on from where it was left. */
void peri_timers_freeze(struct peri_timers *timers);
void peri_timers_thaw(struct peri_timers *timers);

/* Moves a frozen clock to the earliest deadline up to `until` and serves all nodes due then.
 * Without one moves it to `until` and returns false. */
bool peri_timers_advance(struct peri_timers *timers, uint64_t until);

/* The time as these timers see it: on uv_now()'s clock, in milliseconds with their fraction, and in
 * seconds since 1970. */
double peri_timers_precise(const struct peri_timers *timers);
double peri_timers_wall(const struct peri_timers *timers);
static inline uint64_t peri_timers_now(const struct peri_timers *timers)
{
    return timers->frozen ? timers->now : uv_now(timers->clock.loop);
}

static inline bool peri_timer_runs(const struct peri_timer *timer)
{
    return timer->slot != 0;
}

#endif
