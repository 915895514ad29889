#include "timer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void put(struct peri_timers *timers, uint32_t index, struct peri_timer *timer)
{
    timers->heap[index] = timer;
    timer->slot = index + 1;
}

static void sift_up(struct peri_timers *timers, uint32_t index, struct peri_timer *timer)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;
        if (timers->heap[parent]->due <= timer->due)
            break;
        put(timers, index, timers->heap[parent]);
        index = parent;
    }
    put(timers, index, timer);
}

static void sift_down(struct peri_timers *timers, uint32_t index, struct peri_timer *timer)
{
    for (;;) {
        uint32_t child = index * 2 + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count && timers->heap[child + 1]->due < timers->heap[child]->due)
            child++;
        if (timers->heap[child]->due >= timer->due)
            break;
        put(timers, index, timers->heap[child]);
        index = child;
    }
    put(timers, index, timer);
}

static void on_clock(uv_timer_t *clock);

/* Arms the libuv timer for the earliest node; it stays as it is when that did not change. */
static void arm(struct peri_timers *timers)
{
    if (timers->firing)
        return;
    if (timers->count == 0 || timers->frozen) {
        uv_timer_stop(&timers->clock);
        return;
    }
    uint64_t now = uv_now(timers->clock.loop);
    uint64_t due = timers->heap[0]->due;
    uv_timer_start(&timers->clock, on_clock, due > now ? due - now : 0, 0);
}

static void serve(struct peri_timers *timers, uint64_t now)
{
    timers->firing = true;
    while (timers->count > 0 && timers->heap[0]->due <= now) {
        struct peri_timer *timer = timers->heap[0];
        peri_timer_stop(timers, timer);
        timer->fire(timer);
    }
    timers->firing = false;
    arm(timers);
}

static void on_clock(uv_timer_t *clock)
{
    serve(clock->data, uv_now(clock->loop));
}

void peri_timers_open(struct peri_timers *timers, uv_loop_t *loop)
{
    *timers = (struct peri_timers){0};
    uv_timer_init(loop, &timers->clock);
    timers->clock.data = timers;
}

void peri_timers_close(struct peri_timers *timers)
{
    uv_close((uv_handle_t *) &timers->clock, NULL);
    free(timers->heap);
    timers->heap = NULL;
    timers->count = 0;
    timers->cap = 0;
}

static double wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

double peri_timers_precise(const struct peri_timers *timers)
{
    return timers->frozen ? (double) timers->now : (double) uv_hrtime() / 1e6;
}

double peri_timers_wall(const struct peri_timers *timers)
{
    return timers->frozen ? timers->epoch_s + (double) timers->now / 1e3 : wall_clock();
}

void peri_timers_freeze(struct peri_timers *timers)
{
    if (timers->frozen)
        return;
    timers->now = uv_now(timers->clock.loop);
    timers->epoch_s = wall_clock() - (double) timers->now / 1e3;
    timers->frozen = true;
    arm(timers);
}

void peri_timers_thaw(struct peri_timers *timers)
{
    if (!timers->frozen)
        return;
    uint64_t now = uv_now(timers->clock.loop);
    for (uint32_t i = 0; i < timers->count; i++) { /* all by the same time: their order stays */
        struct peri_timer *timer = timers->heap[i];
        timer->due = timer->due > timers->now ? timer->due - timers->now + now : now;
    }
    timers->frozen = false;
    arm(timers);
}

bool peri_timers_advance(struct peri_timers *timers, uint64_t until)
{
    if (timers->count == 0 || timers->heap[0]->due > until) {
        if (until > timers->now)
            timers->now = until;
        return false;
    }
    if (timers->heap[0]->due > timers->now)
        timers->now = timers->heap[0]->due;
    serve(timers, timers->now);
    return true;
}

void peri_timer_start(struct peri_timers *timers, struct peri_timer *timer, uint64_t due)
{
    if (timers->frozen) {
        uint64_t now = uv_now(timers->clock.loop);
        due = timers->now + (due > now ? due - now : 0);
    }
    if (timer->slot != 0) {
        uint64_t before = timer->due;
        timer->due = due;
        if (due < before)
            sift_up(timers, timer->slot - 1, timer);
        else
            sift_down(timers, timer->slot - 1, timer);
        arm(timers);
        return;
    }
    if (timers->count == timers->cap) {
        uint32_t cap = timers->cap == 0 ? 64 : timers->cap * 2;
        struct peri_timer **heap = realloc(timers->heap, cap * sizeof(*heap));
        if (heap == NULL) {
            fputs("perigee: out of memory (timers)\n", stderr);
            abort();
        }
        timers->heap = heap;
        timers->cap = cap;
    }
    timer->due = due;
    sift_up(timers, timers->count++, timer);
    if (timer->slot == 1)
        arm(timers);
}

void peri_timer_stop(struct peri_timers *timers, struct peri_timer *timer)
{
    if (timer->slot == 0)
        return;
    uint32_t index = timer->slot - 1;
    timer->slot = 0;
    struct peri_timer *last = timers->heap[--timers->count];
    if (last != timer) {
        if (index > 0 && timers->heap[(index - 1) / 2]->due > last->due)
            sift_up(timers, index, last);
        else
            sift_down(timers, index, last);
    }
    if (index == 0)
        arm(timers);
}
