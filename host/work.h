/* Jobs in C that take too long for a loop: hashing, compression. They run on libuv's threadpool
 * while their task waits.
 *
 * A job is a userdata on the stack of the coroutine that waits for it. `run` is called on another
 * thread and touches nothing but the job; `op.finish` pushes its results on the VM's thread;
 * `deinit` frees what the job owns, when Lua collects it, so also after a cancellation. A job that
 * has not begun when its task is cancelled never runs; one that runs is waited for: what
 * takes long sets an `op.cancel` that makes it stop. */
#ifndef PERI_WORK_H
#define PERI_WORK_H

#include "task.h"

struct peri_job {
    struct peri_op op; /* `finish` is set by the caller */
    uv_work_t req;
    void (*run)(struct peri_job *job);
    /* On the VM's thread when the job is over, also after a cancellation; may be NULL. For what
     * should not wait for the collector. */
    void (*over)(struct peri_job *job);
    void (*deinit)(struct peri_job *job); /* may be NULL */
};

/* A chore is a job that nothing can stop and nobody should wait for: a task that is cancelled
 * leaves it behind. Therefore its memory is of its own, and freed when both the task and the thread
 * are done with it. Where no task runs, as while an app loads, it is done in place. */
struct peri_chore {
    uv_work_t req;
    struct peri_chore_op *op; /* the VM's thread; NULL once nobody waits */
    void (*run)(struct peri_chore *chore);
    int (*finish)(lua_State *L, struct peri_chore *chore); /* pushes its results; may raise */
    void (*deinit)(struct peri_chore *chore);              /* frees what it owns; may be NULL */
};

/* Makes a chore, zeroed, and pushes what keeps it; `size` includes struct peri_chore, which comes
 * first. Raises where a task cannot wait. */
void *peri_chore_new(lua_State *L, size_t size);

/* Hands it to the threadpool and parks the task, or does it: `return peri_chore_await(L, chore);`.
 */
int peri_chore_await(lua_State *L, struct peri_chore *chore);

/* Whether the running code may wait: otherwise a job is better done in place. */
bool peri_may_wait(lua_State *L);

/* Makes a job on the stack, zeroed; `size` includes struct peri_job, which comes first. Raises
 * where a task cannot wait. */
void *peri_job_new(lua_State *L, size_t size);

/* The same for a job that is run in place: it never waits, and is freed likewise. */
void *peri_job_new_in_place(lua_State *L, size_t size);

/* Hands the job to the threadpool and parks the task: `return peri_job_await(L, &x->job)`. */
int peri_job_await(lua_State *L, struct peri_job *job);

#endif
