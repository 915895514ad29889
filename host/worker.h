/* The worker threads of one generation: each has a loop, timers and a VM of its own, loaded from
 * the same app, and runs trips from one bounded queue, one at a time.
 *
 *   origin's task: peri_trip_take, write trip->in, peri_trip_await   (a loop thread)
 *   worker's task: trip->body reads trip->in, writes trip->out       (a worker thread)
 *   origin's task: finish reads trip->out
 *
 * Between them go bytes only. A body runs as a task, so every waiting primitive works in it; the
 * worker runs its loop until the task has ended. The worker sleeps while there is nothing to do and
 * is woken by whoever gives it a trip; what is done travels back through the mailbox of the VM it
 * came from, one wake-up for all that is there.
 *
 * A cancelled caller goes on at once: a trip that still waits in the queue is taken out, one that
 * runs is told (its task is cancelled, as any other), and its result is nobody's.
 *
 * Ownership: a trip has two references, the origin's and the worker's; the second one travels back
 * with the result, so that the origin frees, or keeps for the next time. The workers
 * of a generation are opened and released with it. */
#ifndef PERI_WORKER_H
#define PERI_WORKER_H

#include "buf.h"
#include "config.h"
#include "list.h"
#include "task.h"

#include <stdatomic.h>

struct peri_question;
struct peri_vm;
struct peri_texts;
struct peri_worker;
struct peri_workers;
struct peri_mailbox;
struct peri_trip_op;

enum peri_trip_state {
    PERI_TRIP_DONE,
    PERI_TRIP_FULL, /* refused: too many wait already */
    PERI_TRIP_LATE, /* refused: it waited too long for a thread */
};

struct peri_trip {
    struct peri_list link; /* in the queue, or in a mailbox */
    lua_CFunction body;    /* gets the trip as light userdata; should not raise */
    struct peri_buf in;    /* the origin's words; read-only once it waits */
    struct peri_buf out;   /* the worker's */
    void *cargo;           /* what belongs to whoever has the trip, and travels with it */
    void (*drop)(void *cargo);
    bool urgent; /* cleanup: is never refused, and goes first */
    bool failed; /* the body raised; `out` is what it said */

    /* The room's own. */
    struct peri_mailbox *home;
    struct peri_trip_op *op;    /* origin's thread; NULL once nobody waits */
    struct peri_worker *worker; /* under the lock: who runs it */
    enum peri_trip_state state;
    bool leaving;  /* origin's thread: about to be given */
    bool queued;   /* under the lock */
    bool promised; /* under the lock: its origin takes the result, even if it is cancelled */
    atomic_uint refs;
    uint64_t since;   /* when it was given, in nanoseconds */
    uint64_t wait_ns; /* of one that was refused: how long those wait that are first */
};

struct peri_workers_stats {
    unsigned threads;
    unsigned busy;       /* threads that run a trip */
    unsigned depth;      /* trips that wait for a thread */
    uint64_t trips;      /* given to a thread so far */
    uint64_t refused;    /* answered with 503 */
    uint64_t wait_ns;    /* what those trips have waited, together */
    uint64_t slowest_ns; /* the longest of these waits */
};

/* Starts the workers of the generation that `first` (a loaded VM) belongs to: loads the app in
 * each, from `texts`, until `load_until` (see vm.h), and runs its start. Blocks until that is done.
 * *workers is NULL when the app has no threaded functions. Returns 0 or a UV_E* code with the
 * reason in `error`. */
int peri_workers_open(struct peri_workers **workers, const struct peri_config *config,
                      const struct peri_vm *first, const atomic_ullong *load_until,
                      struct peri_texts *texts, struct peri_buf *error);

/* Whether two VMs have registered the same threaded functions; says in `error` where they differ.
 */
bool peri_workers_agree(const struct peri_vm *first, const struct peri_vm *other,
                        struct peri_buf *error);

/* No VM needs them any more: what still runs is cancelled, each worker runs the app's stop and
 * ends, the last one frees everything. Does not block. NULL is fine. */
void peri_workers_release(struct peri_workers *workers);

/* From any thread: the process stops, and cuts what is in flight at this time (uv_hrtime()). */
void peri_workers_stop_by(uint64_t due_ns);

/* Waits until every worker of this process has ended: for so long after that time. Returns false
 * when some did not. */
bool peri_workers_wait(uint64_t timeout_ms);

/* From any thread. */
struct peri_workers_stats peri_workers_stats(struct peri_workers *workers);

/* A trip of this VM with empty buffers, to be filled and awaited at once: one that is not, because
 * its writer raised, is taken back by the next call. Aborts for want of memory. */
struct peri_trip *peri_trip_take(struct peri_vm *vm);

/* Parks the task until a worker has done the trip, then ends with what `finish` pushes; `finish`
 * may raise. Raises an HTTP error 503 with Retry-After when the trip is refused. As a tail call. */
int peri_trip_await(lua_State *L, struct peri_trip *trip,
                    int (*finish)(lua_State *L, struct peri_trip *trip));

/* For a body: sends the result home before the task ends. The trip is out of reach then. */
void peri_trip_post(struct peri_worker *worker);

/* The trip whose task this worker runs; NULL once it was posted. */
struct peri_trip *peri_worker_trip(struct peri_worker *worker);

/* For a body whose result has to be cleaned up: whether somebody still waits for it. If so, its
 * origin takes the result, even if it is cancelled meanwhile, and cleans up; if not, the body does.
 */
bool peri_worker_promise(struct peri_worker *worker);

/* From any thread: the operator asks every worker of this process that runs a trip what it does
 * (inspect.h); `visit` makes what each of them is asked with. */
void peri_workers_visit(struct peri_question *question,
                        struct peri_list *(*visit)(struct peri_question *question,
                                                   uint64_t generation, unsigned worker));

/* Where the trip is that an op waits for. Returns false when the op waits for something else;
 * *worker is -1 while no worker has it. */
bool peri_trip_place(const struct peri_op *op, uint64_t *generation, int *worker);

/* The number of the generation that a worker belongs to. */
uint64_t peri_worker_generation(const struct peri_worker *worker);

/* What the HTTP side keeps in a worker (hop.h). */
struct peri_hop_site *peri_worker_site(struct peri_worker *worker);

/* A VM's own end of all this. Closing is due before peri_vm_close() has closed its loop. */
void peri_mailbox_close(struct peri_mailbox *mailbox);

#endif
