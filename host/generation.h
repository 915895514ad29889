/* A generation: the VMs of one version of the app, one for each loop thread, and its workers.
 *
 * Life of a VM, and the thread that moves it on:
 *
 *   loading    a loader thread reads the files; the VM knows no loop yet
 *   starting   its loop has adopted it and runs the app's start hook, beside the requests it serves
 *   ready      waits for the VMs of the other loops
 *   current    every request that begins on the loop begins in it
 *   leaving    replaced, or given up: finishes what began in it. What has no end of its own is told
 *              (background.h); what lasts longer than the grace of its app is cancelled
 *   stopping   runs the app's stop hook
 *   closed     its Lua state is closed; its memory is freed a turn later, when libuv has let go
 *
 * The server points at the current generation with one atomic pointer, and each request reads it
 * when it begins: the step from one version to the next is a single store, for all threads at once.
 * A loop thus changes over in the first request after it, or when it is woken.
 *
 * Ownership: counted; each VM holds on to its generation, and so does whoever loads it. A VM
 * belongs to its loop from peri_generation_adopt() on. */
#ifndef PERI_GENERATION_H
#define PERI_GENERATION_H

#include "loop.h"
#include "server.h"
#include "vm.h"

enum peri_phase {
    PERI_LOADING,
    PERI_STARTING,
    PERI_READY,
    PERI_CURRENT,
    PERI_LEAVING,
    PERI_STOPPING,
    PERI_CLOSED,
};

struct peri_generation {
    uint64_t number; /* 1 for the first that is loaded; 0: there is no app in it */
    unsigned count;
    struct peri_vm **vms;         /* by index of their loop */
    struct peri_workers *workers; /* for threaded functions; NULL when the app has none */
    atomic_uint references;
    atomic_ullong
        load_until;       /* uv_hrtime() at which loading fails; any thread may bring it forward */
    atomic_bool given_up; /* will not become current: its VMs leave */
    atomic_uint starting; /* loops whose start hook has not ended */
    uv_async_t *started;  /* sent when that number becomes 0 */
    pthread_mutex_t mutex;
    struct peri_buf error; /* of the first start hook that failed; under the mutex */
};

/* A generation of `count` VMs, none of them loaded, with one reference. NULL: out of memory. */
struct peri_generation *peri_generation_new(uint64_t number, unsigned count);

/* Gives a reference back; with the last one it is freed. VMs that no loop adopted are closed by
 * whoever gives it back. */
void peri_generation_release(struct peri_generation *generation);

/* Loads the app into every VM, on any thread, and starts its workers. Returns 0 or a UV_E* code
 * with the reason in `error`.
 */
int peri_generation_load(struct peri_generation *generation, const struct peri_config *config,
                         struct peri_buf *error);

/* The same without an app: VMs that know no operation. */
int peri_generation_load_nothing(struct peri_generation *generation,
                                 const struct peri_config *config);

/* On the loop's thread: takes over its VM and begins to start the app. */
void peri_generation_adopt(struct peri_generation *generation, struct peri_loop *loop);

/* On the loop's thread: loop->vm becomes the VM of the server's current generation. */
void peri_generation_follow(struct peri_loop *loop);

/* On the loop's thread, outside of Lua: moves on the VMs that leave. Woken through loop->wake. */
void peri_generation_tend(struct peri_loop *loop);

/* Asks every task of the loop to end; what it waits for to clean up may take so long. */
void peri_generation_cancel(struct peri_loop *loop, unsigned cleanup_ms, const char *reason);

/* The tasks of the loop, whichever version they run. */
unsigned peri_generation_tasks(const struct peri_loop *loop);

/* After the loop's thread has ended: stops the app and closes every VM of the loop. */
void peri_generation_close(struct peri_loop *loop);
/* ... and frees them, once the loop has run until it was empty. */
void peri_generation_free(struct peri_loop *loop);

/* The VM for a request that begins now. */
static inline struct peri_vm *peri_generation_enter(struct peri_loop *loop)
{
    if (loop->vm->life.generation !=
        atomic_load_explicit(&loop->server->generation, memory_order_acquire))
        peri_generation_follow(loop);
    loop->vm->life.exchanges++;
    return loop->vm;
}

/* A request that began in the VM is over. */
static inline void peri_generation_leave(struct peri_vm *vm)
{
    if (--vm->life.exchanges == 0 && vm->life.phase >= PERI_LEAVING)
        uv_async_send(&vm->life.loop->wake);
}

#endif
