/* The post between a VM and the worker threads of its generation: a trip carries bytes to a worker
 * and brings bytes back to the mailbox of the VM that it came from, one wake-up for all that is
 * there.
 *
 *   origin's task: peri_trip_take, write trip->in, peri_trip_await   (a loop's thread)
 *   worker's task: trip->body reads trip->in, writes trip->out       (a worker's thread, worker.h)
 *   origin's task: finish reads trip->out                            (the loop's thread again)
 *
 * A cancelled caller goes on at once: a trip that still waits in the queue is taken out, one that
 * runs is told (its task is cancelled, as any other), and its result is nobody's.
 *
 * A worker may call back while it runs a trip: a trip of its own VM visits the mailbox that the
 * other one came from, and runs there in a task, a guest, while the worker waits. Its caller,
 * cancelled, waits until the guest has ended, which is cancelled with it.
 *
 *   worker's task: peri_trip_take, write trip->in, peri_trip_visit   (the worker's thread)
 *   guest:         trip->body reads trip->in, writes trip->out       (the loop's thread)
 *   worker's task: finish reads trip->out                            (the worker's thread again)
 *
 * A loop never sleeps for a worker, so a guest can always run. It must not wait for a worker
 * itself: all of them may be waiting for guests.
 *
 * Ownership: a trip has two references, the origin's and the worker's; the second one travels back
 * with the result, so that the origin frees, or keeps for the next time. A mailbox belongs to its
 * VM, and outlives it while trips that nobody waits for still run, or a worker may call back. */
#ifndef PERI_TRIP_H
#define PERI_TRIP_H

#include "buf.h"
#include "list.h"
#include "task.h"

#include <stdatomic.h>

struct peri_mailbox;
struct peri_trip_op;
struct peri_vm;
struct peri_worker;

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
    bool urgent;     /* cleanup: is never refused, and goes first */
    bool failed;     /* the body raised; `out` is what it said */
    bool waited;     /* the body did, for anything */
    uint64_t ran_ns; /* in development: how long the worker had it; else 0 */

    /* The room's own. */
    struct peri_mailbox *home;
    struct peri_mailbox *host;  /* of a visit: where its guest runs */
    struct peri_trip *parent;   /* of a visit: the trip whose worker makes it; may be NULL */
    struct peri_trip_op *op;    /* origin's thread; NULL once nobody waits */
    struct peri_worker *worker; /* under the lock of the workers: who runs it */
    enum peri_trip_state state;
    bool leaving;  /* origin's thread: about to be given */
    bool queued;   /* under that lock */
    bool promised; /* under that lock: its origin takes the result, even if it is cancelled */
    atomic_uint refs;
    struct peri_task *guest; /* host's thread: runs it, on a visit */
    atomic_bool unwanted;    /* a visit whose caller was cancelled */
    uint64_t since;          /* when it was given, in nanoseconds */
    uint64_t wait_ns;        /* of one that was refused: how long those wait that are first */
};

/* A trip of this VM with empty buffers, to be filled and awaited at once: one that is not, because
 * its writer raised, is taken back by the next call. Aborts for want of memory. */
struct peri_trip *peri_trip_take(struct peri_vm *vm);

/* Parks the task until a worker has done the trip, then ends with what `finish` pushes; `finish`
 * may raise. Raises an HTTP error 503 with Retry-After when the trip is refused. As a tail call. */
int peri_trip_await(lua_State *L, struct peri_trip *trip,
                    int (*finish)(lua_State *L, struct peri_trip *trip));

/* Parks the task until a guest of the VM that `host` belongs to has done the trip, then ends with
 * what `finish` pushes; `finish` may raise. Raises when that VM has been closed. As a tail call. */
int peri_trip_visit(lua_State *L, struct peri_trip *trip, struct peri_mailbox *host,
                    int (*finish)(lua_State *L, struct peri_trip *trip));

/* Where the trip is that an op waits for. Returns false when the op waits for something else;
 * *worker is -1 while no worker has it. */
bool peri_trip_place(const struct peri_op *op, uint64_t *generation, int *worker);

/* On a host's thread: the task that waits for the worker that a guest runs for. NULL: the task is
 * no guest, or nobody waits. */
struct peri_task *peri_trip_caller(const struct peri_task *guest);

/* From a worker's thread, which is done with the trip: sends it home. */
void peri_trip_return(struct peri_trip *trip);

/* On a worker's thread, which has the trip: where it came from. It stays until it is put back. */
struct peri_mailbox *peri_trip_keep_home(struct peri_trip *trip);
void peri_mailbox_put(struct peri_mailbox *mailbox);

/* A VM's own end of all this. Closing is due before peri_vm_close() has closed its loop. */
void peri_mailbox_close(struct peri_mailbox *mailbox);

#endif
