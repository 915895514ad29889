/* The worker threads of one generation: each has a loop, timers and a VM of its own, loaded from
 * the same app, and runs trips (trip.h) from one bounded queue, one at a time.
 *
 * A body runs as a task, so every waiting primitive works in it; the worker runs its loop until the
 * task has ended. The worker sleeps while there is nothing to do and is woken by whoever gives it a
 * trip.
 *
 * Threads: one lock guards the queue and what others may ask of a worker; all else of a worker
 * belongs to its thread. What says "from any thread" takes the lock.
 *
 * Lifetime: the workers of a generation are opened and released with it; they end once what they
 * run has been cancelled, and the last one frees everything. */
#ifndef PERI_WORKER_H
#define PERI_WORKER_H

#include "buf.h"
#include "config.h"
#include "list.h"
#include "trip.h"

#include <stdatomic.h>

struct peri_question;
struct peri_vm;
struct peri_texts;
struct peri_worker;
struct peri_workers;

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

/* --- For trip.c, on a loop's thread --- */

/* Gives the trips in `leaving` to workers or puts them into the queue; the others are in `refused`
 * then, and say why. */
void peri_workers_give(struct peri_workers *workers, struct peri_list *leaving,
                       struct peri_list *refused);

/* Takes a trip out of the queue. Returns false when it does not wait there any more. */
bool peri_workers_take_back(struct peri_workers *workers, struct peri_trip *trip);

void peri_workers_count_refused(struct peri_workers *workers);

/* Nobody wants to wait for the trip: the worker that runs it is told. Returns false when its result
 * must be waited for, because it was promised to be taken. */
bool peri_workers_forsake(struct peri_workers *workers, struct peri_trip *trip);

/* The number of the worker that has the trip; -1: none. */
int peri_workers_place(struct peri_workers *workers, const struct peri_trip *trip);

uint64_t peri_workers_generation(const struct peri_workers *workers);

/* How long a trip may wait for a thread. */
uint64_t peri_workers_max_wait_ms(const struct peri_workers *workers);

/* --- On a worker's thread --- */

/* For a body: sends the result home before the task ends. The trip is out of reach then. */
void peri_trip_post(struct peri_worker *worker);

/* The trip whose task this worker runs; NULL once it was posted. */
struct peri_trip *peri_worker_trip(struct peri_worker *worker);

/* Where the trip came from that this worker runs, or whose answer its tasks stand behind; NULL
 * while it runs none. */
struct peri_mailbox *peri_worker_origin(const struct peri_worker *worker);

/* For a body whose result has to be cleaned up: whether somebody still waits for it. If so, its
 * origin takes the result, even if it is cancelled meanwhile, and cleans up; if not, the body does.
 */
bool peri_worker_promise(struct peri_worker *worker);

/* From any thread: the operator asks every worker of this process that runs a trip what it does
 * (inspect.h); `visit` makes what each of them is asked with. */
void peri_workers_visit(struct peri_question *question,
                        struct peri_list *(*visit)(struct peri_question *question,
                                                   uint64_t generation, unsigned worker));

/* The number of the generation that a worker belongs to. */
uint64_t peri_worker_generation(const struct peri_worker *worker);

/* What the HTTP side keeps in a worker (hop.h). */
struct peri_hop_site *peri_worker_site(struct peri_worker *worker);

#endif
