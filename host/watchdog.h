/* The watchdog of one thread that runs Lua: it notices a slice, one stay inside lua_resume, that
 * does not end.
 *
 * It is a timer of the kernel that sends this thread a signal every PERI_TICK_MS while slices are
 * run; it stops by itself when two ticks have seen none, so that an idle process sleeps. A slice
 * that two ticks have met is too long: between one tick and two, 10 ms at most. What is watched is
 * told to whoever opened the watchdog, in the signal handler; only what POSIX and lua_sethook()
 * allow there may be done. No thread, lock or atomic is needed, because nobody else looks: a slice
 * costs a handful of stores.
 *
 * Each thread has its own, opened and closed by the thread itself; a load has one, too, for its
 * time limit. Where none is open, nothing is watched and everything here still may be called.
 */
#ifndef PERI_WATCHDOG_H
#define PERI_WATCHDOG_H

#include <signal.h>
#include <stdbool.h>
#include <time.h>

#define PERI_TICK_MS 5
#define PERI_BRIEF_MS 1 /* the length of the slices of what is known to compute */

/* A build with -DPERIGEE_WATCHDOG=OFF, in which anything can hold its loop, is there to measure
 * what watching costs. */
#ifdef PERI_WITHOUT_WATCHDOG
#define PERI_WATCHES 0
#else
#define PERI_WATCHES 1
#endif

struct peri_watchdog {
    void *volatile runner;    /* whose slice it is; NULL between slices */
    volatile unsigned slices; /* begun so far */
    volatile unsigned seen;   /* the same, at the last tick */
    volatile unsigned ticks;  /* so far: a clock that costs nothing to read */
    volatile sig_atomic_t asleep;
    volatile sig_atomic_t brief; /* the next tick ends the slice */
    void (*overran)(void *runner);
    timer_t timer;
    bool open;
};

/* This thread's. */
extern _Thread_local struct peri_watchdog peri_watchdog;

/* Watches this thread until peri_watchdog_close(); `overran` is called in a signal handler. Returns
 * 0 or a UV_E* code, and then nothing is watched. */
int peri_watchdog_open(void (*overran)(void *runner));
void peri_watchdog_close(void);

/* Called by the inline functions. */
void peri_watchdog_wake(void);

/* Begins a slice, or goes over to another runner within one. Returns what ran until now, for
 * peri_watchdog_leave(). */
static inline void *peri_watchdog_enter(void *runner)
{
    if (!PERI_WATCHES)
        return NULL;
    struct peri_watchdog *dog = &peri_watchdog;
    void *outer = dog->runner;
    if (outer == NULL)
        dog->slices = dog->slices + 1;
    dog->runner = runner;
    if (__builtin_expect(dog->asleep, 0)) /* after `runner`: a tick in between sees a slice */
        peri_watchdog_wake();
    return outer;
}

static inline void peri_watchdog_leave(void *outer)
{
    if (PERI_WATCHES)
        peri_watchdog.runner = outer;
}

/* The next slice, or the current one, has PERI_BRIEF_MS from now; until peri_watchdog_patient(). */
void peri_watchdog_be_brief(void);

static inline void peri_watchdog_be_patient(void)
{
    peri_watchdog.brief = 0;
}

#endif
