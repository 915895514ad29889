/* Slices: how long a task runs before the others get their turn.
 *
 * A slice ends where the task waits. One that does not end is noticed by the watchdog, which puts a
 * one-shot count hook on the coroutine that runs; the hook yields it. From then on the task is
 * `slow`: it goes on in slices of 1 ms, behind the I/O that is ready, and all slow tasks of a VM
 * together get half of the loop's time at most. Without an overrun no hook is ever set, because a
 * standing one makes Lua more than twice as slow.
 *
 * Where Lua cannot yield (in a __tostring that tostring calls, say) the hook looks again every now
 * and then, until the coroutine can be left, or the task's deadline has passed, or the loop was
 * held for 2 s: then it raises. So it does, everywhere, in a task that was cancelled and computes
 * on. C functions that may take long (search.h) look for themselves whether their slice is over.
 *
 * What is seen here is logged once per place, and counted. Belongs to the VM's thread. */
#ifndef PERI_SLICE_H
#define PERI_SLICE_H

#include "task.h"
#include "watchdog.h"

/* For peri_watchdog_open(). */
void peri_slice_overran(void *runner);

/* Called by the inline functions. */
void peri_slice_prepare(struct peri_task *task);
void peri_slice_disarm(void);

/* The coroutine that has the hook; NULL as a rule. */
extern _Thread_local lua_State *volatile peri_slice_hooked;

/* Whether that coroutine's slice is over, for C functions that take long. */
extern _Thread_local volatile bool peri_slice_over;

/* Around lua_resume of a task. */
static inline void *peri_slice_begin(struct peri_task *task)
{
    if (PERI_WATCHES && __builtin_expect(task->slow, 0))
        peri_slice_prepare(task);
    return peri_watchdog_enter(task->L);
}

static inline void peri_slice_end(struct peri_task *task, void *outer)
{
    peri_watchdog_leave(outer);
    if (!PERI_WATCHES)
        return;
    if (__builtin_expect(peri_slice_hooked != NULL, 0))
        peri_slice_disarm();
    if (__builtin_expect(task->slow, 0))
        peri_watchdog_be_patient();
}

/* Around lua_resume of another coroutine within a slice: it is the one to interrupt. */
static inline void *peri_slice_enter(lua_State *co)
{
    return peri_watchdog_enter(co);
}

static inline void peri_slice_leave(lua_State *co, void *outer)
{
    peri_watchdog_leave(outer);
    if (PERI_WATCHES &&
        __builtin_expect(peri_slice_hooked == co, 0)) /* the collector may take it */
        peri_slice_disarm();
}

/* lua_resetthread() behind peri_slice_begin() or peri_slice_enter(): runs the `<close>` variables
 * of a coroutine, which can be interrupted also where an error of ours has ended it. */
int peri_slice_reset(lua_State *co);

/* Behind peri_slice_enter(), for finalizer.c: has the hook look at the coroutine in some ten
 * thousand instructions, whatever the clock says. */
void peri_slice_look_soon(lua_State *co);

/* A C function that takes long looks now and then whether its slice is over, as no hook runs within
 * it. Then it calls peri_slice_must_yield(), which does what the hook does, and may raise. Where it
 * returns true: `return peri_slice_yield(L, context, continuation);`. */
static inline bool peri_slice_is_over(lua_State *L)
{
    return PERI_WATCHES && peri_slice_hooked == L && peri_slice_over;
}
bool peri_slice_must_yield(lua_State *L);

/* An error is about to be raised that ends the running task for good: what cleans up behind it has
 * some ten thousand instructions until it is ended, too. */
void peri_slice_spare(lua_State *L);

/* Whether what runs cleans up behind an error that was raised where it computed. C functions that
 * come to their end let it go on. */
bool peri_slice_is_spared(void);

/* Called where a cancelled scope has been left: nothing cleans up behind it any more. */
void peri_slice_spare_no_more(void);

int peri_slice_yield(lua_State *L, lua_KContext context, lua_KFunction continuation);

/* Forgets the places that were logged. */
void peri_slice_forget(struct peri_tasks *tasks);

#endif
