#include "watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* SIGURG is ignored where nobody asks for it, and debuggers let it pass. ThreadSanitizer keeps
 * asynchronous signals back until the next call of libc, which an endless loop of Lua never makes;
 * those that it takes for faults of the program come through. */
#if defined(__SANITIZE_THREAD__)
#define TICK SIGTRAP
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TICK SIGTRAP
#endif
#endif
#ifndef TICK
#define TICK SIGURG
#endif

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

_Thread_local struct peri_watchdog peri_watchdog;

/* In milliseconds; 0 stops the timer. timer_settime() may be called in a signal handler. */
static void set_timer(struct peri_watchdog *dog, long first, long interval)
{
    const struct itimerspec when = {
        .it_value.tv_nsec = first * 1000000,
        .it_interval.tv_nsec = interval * 1000000,
    };
    timer_settime(dog->timer, 0, &when, NULL);
}

static void on_tick(int number, siginfo_t *info, void *context)
{
    struct peri_watchdog *dog = &peri_watchdog;
    (void) number;
    (void) context;
    if (info->si_code != SI_TIMER || !dog->open) /* urgent data somewhere, or the last tick */
        return;
    int saved = errno;
    void *runner = dog->runner;
    dog->ticks = dog->ticks + 1;
    if (runner != NULL) {
        if (dog->brief || dog->seen == dog->slices)
            dog->overran(runner);
    } else if (dog->seen == dog->slices) {
        dog->asleep = 1;
        set_timer(dog, 0, 0);
    }
    dog->seen = dog->slices;
    errno = saved;
}

static void install_handler(void)
{
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(TICK, &action, NULL);
}

int peri_watchdog_open(void (*overran)(void *runner))
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (!PERI_WATCHES)
        return 0;
    pthread_once(&once, install_handler);
    struct peri_watchdog *dog = &peri_watchdog;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK};
    event.sigev_notify_thread_id = (pid_t) syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &dog->timer) != 0)
        return -errno;
    dog->overran = overran;
    dog->open = true;
    dog->asleep = 1;
    return 0;
}

void peri_watchdog_close(void)
{
    struct peri_watchdog *dog = &peri_watchdog;
    if (!dog->open)
        return;
    dog->open = false;
    dog->asleep = 0;
    dog->brief = 0;
    timer_delete(dog->timer);
}

void peri_watchdog_wake(void)
{
    peri_watchdog.asleep = 0;
    set_timer(&peri_watchdog, PERI_TICK_MS, PERI_TICK_MS);
}

void peri_watchdog_be_brief(void)
{
    if (!peri_watchdog.open)
        return;
    peri_watchdog.asleep = 0;
    peri_watchdog.brief = 1;
    set_timer(&peri_watchdog, PERI_BRIEF_MS, PERI_TICK_MS);
}
