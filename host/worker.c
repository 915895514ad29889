#include "worker.h"

#include "generation.h"
#include "hop.h"
#include "inspect.h"
#include "log.h"
#include "slice.h"
#include "vm.h"

#include <lauxlib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CLEANUP_MS 10000    /* the app's stop may take so long */
#define LAST_CLEANUP_MS 800 /* and the cleanup of what was cut, as on a loop */

struct peri_worker {
    struct peri_workers *all;
    unsigned index;
    uv_loop_t uv;
    uv_async_t wake; /* to be cancelled, or to take a trip while the loop has things to do */
    struct peri_timers timers;
    struct peri_timer cut; /* for functions behind answers, once its version has ended */
    struct peri_vm *vm;
    struct peri_hop_site *site;
    struct peri_task *task;      /* the trip's; NULL when it has ended */
    struct peri_mailbox *origin; /* where that trip came from; NULL between trips */
    bool ended;
    uint64_t began; /* the trip; uv_hrtime(), in development only */

    /* Under the lock. */
    pthread_cond_t ready;
    struct peri_worker *idle_below; /* the next one on the stack of those that sleep */
    struct peri_trip *trip;         /* given; NULL once posted */
    struct peri_list visits;        /* of the operator, who asks what it does */
    atomic_bool visited;            /* there are some; for a signal handler */
    const char *cancelled;          /* why its task should end */
    atomic_bool hurry;              /* the same, for a signal handler */
    bool busy;
    bool idle;    /* it sleeps, and is to be woken */
    bool in_loop; /* sleeps in its loop, not on the condition */
    bool gone;    /* takes nothing more, nor is it told anything */
};

struct peri_workers {
    struct peri_list link; /* among those of the process */
    uint64_t generation;   /* its number */
    const struct peri_config *config;
    const struct peri_vm *first;
    unsigned count;
    unsigned started; /* threads */
    uint64_t max_depth;
    uint64_t max_wait_ms;
    struct peri_worker *all;

    pthread_mutex_t lock;
    pthread_cond_t news; /* a worker has loaded */
    atomic_uint refs;    /* the generation's, and one for each thread */
    struct peri_list queue;
    struct peri_list urgent;     /* taken first */
    struct peri_worker *idle;    /* a stack: the one that slept last is warm */
    struct peri_worker *reserve; /* does urgent trips only, so that it is free when all others wait
                                    for what such a trip would set free; may be NULL */
    const atomic_ullong *load_until;
    struct peri_texts *texts;
    unsigned loaded;
    bool closing;
    int status; /* of the first worker that did not load */
    struct peri_buf *error;
    struct peri_workers_stats stats;
};

/* The worker threads of this process, whatever their generation. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned count;
    struct peri_list workers; /* that have threads */
    atomic_ullong stop_by;    /* uv_hrtime() at which a stopping process cuts; 0: it goes on */
} threads = {PTHREAD_MUTEX_INITIALIZER,
             PTHREAD_COND_INITIALIZER,
             0,
             {&threads.workers, &threads.workers},
             0};

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("perigee: out of memory (workers)\n", stderr);
        abort();
    }
    return memory;
}

/* --- the queue
 * ------------------------------------------------------------------------------------
 */

static void rouse(struct peri_worker *worker)
{
    if (worker->in_loop)
        uv_async_send(&worker->wake);
    else
        pthread_cond_signal(&worker->ready);
}

/* Under the lock: what the worker runs is to end. */
static void tell(struct peri_worker *worker, const char *reason)
{
    if (worker->gone)
        return;
    worker->cancelled = reason;
    atomic_store(&worker->hurry, true);
    uv_async_send(&worker->wake);
}

/* Under the lock: the worker has the trip from here on. */
static void hand_over(struct peri_workers *workers, struct peri_worker *worker,
                      struct peri_trip *trip)
{
    uint64_t waited = uv_hrtime() - trip->since;
    trip->queued = false;
    trip->worker = worker;
    worker->trip = trip;
    worker->busy = true;
    worker->idle = false;
    workers->stats.trips++;
    workers->stats.busy++;
    workers->stats.wait_ns += waited;
    if (waited > workers->stats.slowest_ns)
        workers->stats.slowest_ns = waited;
}

/* Under the lock: how long the trip has waited that is first in the queue. A client that comes back
 * after that time finds none of those there that wait now. */
static uint64_t first_wait(struct peri_workers *workers, uint64_t now)
{
    if (peri_list_empty(&workers->queue))
        return 0;
    return now - peri_container_of(workers->queue.next, struct peri_trip, link)->since;
}

/* Under the lock. */
static void give(struct peri_workers *workers, struct peri_trip *trip)
{
    struct peri_worker *idle = workers->idle;
    struct peri_worker *reserve = workers->reserve;
    if (idle != NULL) {
        workers->idle = idle->idle_below;
        hand_over(workers, idle, trip);
        rouse(idle);
    } else if (trip->urgent && reserve != NULL && reserve->idle) {
        hand_over(workers, reserve, trip);
        rouse(reserve);
    } else if (workers->stats.depth >= workers->max_depth && !trip->urgent) {
        workers->stats.refused++;
        trip->state = PERI_TRIP_FULL;
        trip->wait_ns = first_wait(workers, trip->since);
    } else {
        trip->queued = true;
        workers->stats.depth++;
        peri_list_append(trip->urgent ? &workers->urgent : &workers->queue, &trip->link);
    }
}

void peri_workers_give(struct peri_workers *workers, struct peri_list *leaving,
                       struct peri_list *refused)
{
    struct peri_list *link;
    uint64_t now = uv_hrtime();
    pthread_mutex_lock(&workers->lock);
    while ((link = peri_list_pop(leaving)) != NULL) {
        struct peri_trip *trip = peri_container_of(link, struct peri_trip, link);
        trip->leaving = false;
        trip->since = now;
        give(workers, trip);
        if (trip->state != PERI_TRIP_DONE)
            peri_list_append(refused, link);
    }
    pthread_mutex_unlock(&workers->lock);
}

bool peri_workers_take_back(struct peri_workers *workers, struct peri_trip *trip)
{
    pthread_mutex_lock(&workers->lock);
    bool queued = trip->queued;
    if (queued) {
        peri_list_remove(&trip->link);
        trip->queued = false;
        workers->stats.depth--;
    }
    pthread_mutex_unlock(&workers->lock);
    return queued;
}

void peri_workers_count_refused(struct peri_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    workers->stats.refused++;
    pthread_mutex_unlock(&workers->lock);
}

bool peri_workers_forsake(struct peri_workers *workers, struct peri_trip *trip)
{
    pthread_mutex_lock(&workers->lock);
    bool promised = trip->promised;
    if (!promised && trip->worker != NULL && trip->worker->trip == trip)
        tell(trip->worker, "nobody waits for its result any more");
    pthread_mutex_unlock(&workers->lock);
    return !promised;
}

int peri_workers_place(struct peri_workers *workers, const struct peri_trip *trip)
{
    pthread_mutex_lock(&workers->lock);
    int worker = trip->worker != NULL ? (int) trip->worker->index : -1;
    pthread_mutex_unlock(&workers->lock);
    return worker;
}

/* --- a worker's thread -------------------------------------------------------------------------
 */

struct peri_trip *peri_worker_trip(struct peri_worker *worker)
{
    return worker->trip;
}

struct peri_mailbox *peri_worker_origin(const struct peri_worker *worker)
{
    return worker->origin;
}

bool peri_worker_promise(struct peri_worker *worker)
{
    pthread_mutex_lock(&worker->all->lock);
    bool awaited = worker->trip != NULL && worker->cancelled == NULL;
    if (awaited)
        worker->trip->promised = true;
    pthread_mutex_unlock(&worker->all->lock);
    return awaited;
}

struct peri_hop_site *peri_worker_site(struct peri_worker *worker)
{
    return worker->site;
}

void peri_trip_post(struct peri_worker *worker)
{
    struct peri_workers *workers = worker->all;
    if (worker->trip == NULL)
        return; /* it has gone already */
    pthread_mutex_lock(&workers->lock);
    struct peri_trip *trip = worker->trip;
    worker->trip = NULL;
    trip->worker = NULL;
    pthread_mutex_unlock(&workers->lock);
    atomic_store(&worker->hurry, true); /* what runs behind it has deadlines of its own */
    peri_trip_return(trip);
}

static void on_trip_ended(struct peri_task *task, void *owner, bool failed)
{
    struct peri_trip *trip = owner;
    struct peri_worker *worker = peri_vm_of(task->L)->worker;
    if (failed && worker->trip != NULL) {
        trip->failed = true;
        trip->out.len = 0;
        peri_buf_add_str(&trip->out, peri_task_error(task));
    }
    if (worker->began != 0 && worker->trip != NULL) {
        trip->ran_ns = uv_hrtime() - worker->began;
        trip->waited = task->since != 0;
    }
    peri_hop_ended(worker->site);
    peri_trip_post(worker);
    peri_hop_after(worker->site);
    worker->task = NULL;
    worker->ended = true;
}

/* --- the operator --- */

void peri_workers_visit(struct peri_question *question,
                        struct peri_list *(*visit)(struct peri_question *question,
                                                   uint64_t generation, unsigned worker))
{
    pthread_mutex_lock(&threads.lock);
    for (struct peri_list *at = threads.workers.next; at != &threads.workers; at = at->next) {
        struct peri_workers *workers = peri_container_of(at, struct peri_workers, link);
        pthread_mutex_lock(&workers->lock);
        for (unsigned i = 0; i < workers->started; i++) {
            struct peri_worker *worker = &workers->all[i];
            if (worker->gone || !worker->busy)
                continue;
            peri_list_append(&worker->visits, visit(question, workers->generation, i));
            atomic_store(&worker->visited, true);
            uv_async_send(&worker->wake);
        }
        pthread_mutex_unlock(&workers->lock);
    }
    pthread_mutex_unlock(&threads.lock);
}

uint64_t peri_workers_generation(const struct peri_workers *workers)
{
    return workers->generation;
}

uint64_t peri_workers_max_wait_ms(const struct peri_workers *workers)
{
    return workers->max_wait_ms;
}

uint64_t peri_worker_generation(const struct peri_worker *worker)
{
    return worker->all->generation;
}

/* Answers the operator. In the worker's thread, outside of Lua or in a hook. */
static void show(struct peri_worker *worker)
{
    if (!atomic_load(&worker->visited))
        return;
    struct peri_list visits;
    peri_list_init(&visits);
    pthread_mutex_lock(&worker->all->lock);
    peri_list_take(&visits, &worker->visits);
    atomic_store(&worker->visited, false);
    pthread_mutex_unlock(&worker->all->lock);
    struct peri_list *link;
    while ((link = peri_list_pop(&visits)) != NULL)
        peri_inspect_worker(worker->vm, worker->task, link);
}

/* When the grace is over that a stopping process gives, or at least its version of the app; in
 * milliseconds. */
static uint64_t end_of_grace(const struct peri_worker *worker)
{
    uint64_t now = uv_hrtime() / 1000000;
    uint64_t due = now + worker->vm->app.limits.shutdown_grace_ms;
    uint64_t stop_by = atomic_load(&threads.stop_by) / 1000000;
    if (stop_by != 0 && stop_by < due)
        due = stop_by > now ? stop_by : now;
    return due;
}

static void on_cut(struct peri_timer *timer)
{
    struct peri_worker *worker = peri_container_of(timer, struct peri_worker, cut);
    struct peri_tasks *tasks = &worker->vm->tasks;
    atomic_store(&worker->hurry, true);
    peri_tasks_bound_cleanup(tasks, LAST_CLEANUP_MS);
    peri_tasks_end_by(tasks, end_of_grace(worker) + LAST_CLEANUP_MS);
    peri_tasks_cancel(tasks, "the server stops");
}

/* No request waits for this worker any more. What it still runs stands behind answers, and has the
 * grace that it would have on a loop. */
static void give_grace(struct peri_worker *worker)
{
    uint64_t due = end_of_grace(worker);
    if (due <= uv_hrtime() / 1000000)
        on_cut(&worker->cut);
    else if (!peri_timer_runs(&worker->cut) || due < worker->cut.due)
        peri_timer_start(&worker->timers, &worker->cut, due);
}

/* Somebody wants something. In the worker's thread, outside of Lua or in a hook. */
static void attend(struct peri_worker *worker)
{
    show(worker);
    pthread_mutex_lock(&worker->all->lock);
    const char *reason = worker->cancelled;
    bool closing = worker->all->closing;
    bool gone = worker->gone;
    pthread_mutex_unlock(&worker->all->lock);
    if (gone) /* the app's stop runs */
        return;
    if (closing && worker->ended) /* only functions behind its answer run */
        give_grace(worker);
    else if (closing)
        on_cut(&worker->cut);
    else if (reason != NULL && worker->task != NULL)
        peri_task_cancel(worker->task, reason);
}

static void on_wake(uv_async_t *async)
{
    attend(async->data);
}

static bool on_overrun(struct peri_tasks *tasks)
{
    struct peri_worker *worker = peri_container_of(tasks, struct peri_vm, tasks)->worker;
    attend(worker);
    return atomic_load(&worker->hurry);
}

/* The body of every trip's task. It may be told to end before peri_task_start() has returned. */
static int trip_main(lua_State *L)
{
    struct peri_trip *trip = lua_touserdata(L, 1);
    peri_vm_of(L)->worker->task = peri_task_current(L);
    return trip->body(L);
}

static void run_trip(struct peri_worker *worker, struct peri_trip *trip)
{
    uv_update_time(&worker->uv);
    worker->ended = false;
    worker->began = worker->all->config->dev ? uv_hrtime() : 0;
    worker->origin = peri_trip_keep_home(trip);
    peri_task_start(&worker->vm->tasks, trip_main, trip, on_trip_ended);
    if (!worker->ended || worker->vm->tasks.alive > 0) {
        uv_ref((uv_handle_t *) &worker->wake);
        attend(worker); /* cancelled before there was a task */
        while (!worker->ended || worker->vm->tasks.alive > 0)
            uv_run(&worker->uv, UV_RUN_ONCE);
        peri_timer_stop(&worker->timers, &worker->cut);
        uv_unref((uv_handle_t *) &worker->wake);
    }
    peri_mailbox_put(worker->origin);
    worker->origin = NULL;
}

/* Under the lock: the next trip; NULL when the workers close. Sleeps as long as there is none. */
static struct peri_trip *next_trip(struct peri_worker *worker)
{
    struct peri_workers *workers = worker->all;
    worker->cancelled = NULL;
    atomic_store(&worker->hurry, workers->closing);
    if (worker->busy) {
        worker->busy = false;
        workers->stats.busy--;
    }
    if (atomic_load(&worker->visited)) { /* they came too late to see the trip */
        pthread_mutex_unlock(&workers->lock);
        show(worker);
        pthread_mutex_lock(&workers->lock);
    }
    while (worker->trip == NULL && !workers->closing) {
        struct peri_list *link = peri_list_pop(&workers->urgent);
        if (link == NULL && worker != workers->reserve)
            link = peri_list_pop(&workers->queue);
        if (link != NULL) {
            workers->stats.depth--;
            hand_over(workers, worker, peri_container_of(link, struct peri_trip, link));
            break;
        }
        worker->idle = true;
        if (worker != workers->reserve) {
            worker->idle_below = workers->idle;
            workers->idle = worker;
        }
        /* What its VM keeps open, such as a connection to a database, is looked after meanwhile. */
        worker->in_loop = uv_loop_alive(&worker->uv);
        while (worker->trip == NULL && !workers->closing) {
            if (worker->in_loop) {
                pthread_mutex_unlock(&workers->lock);
                uv_ref((uv_handle_t *) &worker->wake);
                uv_run(&worker->uv, UV_RUN_ONCE);
                uv_unref((uv_handle_t *) &worker->wake);
                pthread_mutex_lock(&workers->lock);
            } else {
                pthread_cond_wait(&worker->ready, &workers->lock);
            }
        }
    }
    return worker->trip;
}

static void run_trips(struct peri_worker *worker)
{
    struct peri_workers *workers = worker->all;
    struct peri_trip *trip = NULL;
    pthread_mutex_lock(&workers->lock);
    while ((trip = next_trip(worker)) != NULL) {
        pthread_mutex_unlock(&workers->lock);
        run_trip(worker, trip);
        pthread_mutex_lock(&workers->lock);
    }
    pthread_mutex_unlock(&workers->lock);
}

/* Loads the app and runs its start. Returns 0 or a UV_E* code. */
static int load(struct peri_worker *worker, struct peri_buf *error)
{
    struct peri_workers *workers = worker->all;
    struct peri_vm *vm = worker->vm;
    int rc = peri_vm_open(vm, &worker->uv, &worker->timers);
    if (rc != 0) {
        peri_buf_addf(error, "cannot start worker %u: %s", worker->index, uv_strerror(rc));
        return rc;
    }
    vm->worker = worker;
    vm->tasks.overrun = on_overrun;
    vm->silent = true;
    vm->load_until = workers->load_until;
    vm->texts = workers->texts;
    rc = peri_vm_load(vm, workers->config, error);
    if (rc != 0)
        return rc;
    if (!peri_workers_agree(workers->first, vm, error))
        return UV_EINVAL;
    worker->site = peri_hop_site_new(vm, workers->config);
    if (vm->app.start != LUA_NOREF &&
        peri_vm_call(vm, vm->app.start, workers->config->load_timeout_ms, NULL, error) != 0)
        return UV_EINVAL;
    return 0;
}

static void unload(struct peri_worker *worker, bool loaded)
{
    struct peri_vm *vm = worker->vm;
    struct peri_buf error = {0};
    if (loaded && vm->app.stop != LUA_NOREF &&
        peri_vm_call(vm, vm->app.stop, CLEANUP_MS, NULL, &error) != 0)
        peri_log_error("the app did not stop cleanly: %.*s", (int) error.len, error.data);
    peri_buf_deinit(&error);
    peri_hop_site_free(worker->site);
    atomic_store(&worker->hurry, true); /* finalizers do not have for ever */
    peri_vm_close(vm);
    peri_timers_close(&worker->timers);
    uv_close((uv_handle_t *) &worker->wake, NULL);
    uv_run(&worker->uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&worker->uv) != 0)
        peri_log_error("worker %u ended with an open handle: please report this", worker->index);
}

static void workers_unref(struct peri_workers *workers)
{
    if (atomic_fetch_sub(&workers->refs, 1) > 1)
        return;
    pthread_mutex_lock(&threads.lock);
    peri_list_remove(&workers->link);
    pthread_mutex_unlock(&threads.lock);
    for (unsigned i = 0; i < workers->count; i++) {
        if (workers->all[i].vm != NULL)
            pthread_cond_destroy(&workers->all[i].ready);
        free(workers->all[i].vm);
    }
    pthread_mutex_destroy(&workers->lock);
    pthread_cond_destroy(&workers->news);
    free(workers->all);
    free(workers);
}

static void count_threads(int more)
{
    pthread_mutex_lock(&threads.lock);
    threads.count += (unsigned) more;
    if (threads.count == 0)
        pthread_cond_broadcast(&threads.ended);
    pthread_mutex_unlock(&threads.lock);
}

/* What computes on a worker holds up nobody: it is interrupted only when nobody waits for it. */
static _Thread_local struct peri_worker *this_worker;

/* In a signal handler, every few milliseconds of a long slice. */
static void on_long_slice(void *runner)
{
    if (atomic_load_explicit(&this_worker->hurry, memory_order_relaxed) ||
        atomic_load_explicit(&this_worker->visited, memory_order_relaxed))
        peri_slice_overran(runner);
}

static void *worker_main(void *arg)
{
    struct peri_worker *worker = arg;
    struct peri_workers *workers = worker->all;
    struct peri_buf error = {0};
    char name[16];
    snprintf(name, sizeof(name), "worker %u", worker->index);
    pthread_setname_np(pthread_self(), name);
    this_worker = worker;
    int rc = load(worker, &error);

    pthread_mutex_lock(&workers->lock);
    workers->loaded++;
    if (rc != 0 && workers->status == 0) {
        workers->status = rc;
        peri_buf_add(workers->error, error.data, error.len);
    }
    pthread_cond_signal(&workers->news);
    pthread_mutex_unlock(&workers->lock);
    peri_buf_deinit(&error);
    if (rc == 0 && peri_watchdog_open(on_long_slice) != 0)
        peri_log_error("worker %u: functions that compute cannot be interrupted", worker->index);
    if (rc == 0)
        run_trips(worker);

    pthread_mutex_lock(&workers->lock);
    worker->gone = true;
    atomic_store(&worker->hurry, false);
    pthread_mutex_unlock(&workers->lock);
    show(worker);
    unload(worker, rc == 0);
    peri_watchdog_close();
    workers_unref(workers);
    count_threads(-1);
    return NULL;
}

/* --- life --------------------------------------------------------------------------------------
 */

bool peri_workers_agree(const struct peri_vm *first, const struct peri_vm *other,
                        struct peri_buf *error)
{
    const struct peri_app *a = &first->app;
    const struct peri_app *b = &other->app;
    size_t count = a->threaded_count > b->threaded_count ? a->threaded_count : b->threaded_count;
    for (size_t i = 0; i < count; i++) {
        const char *here = i < a->threaded_count ? a->threaded[i] : "nothing";
        const char *there = i < b->threaded_count ? b->threaded[i] : "nothing";
        if (strcmp(here, there) == 0)
            continue;
        peri_buf_addf(
            error,
            "the app does not load the same way in every thread: threaded function %zu is "
            "%s in one and %s in another; perigee.threaded() and perigee.on_loop() must be called "
            "in the same order whenever the app loads",
            i + 1, here, there);
        return false;
    }
    return true;
}

static int start(struct peri_workers *workers, unsigned index)
{
    struct peri_worker *worker = &workers->all[index];
    *worker = (struct peri_worker){.all = workers, .index = index};
    worker->vm = allocate(sizeof(*worker->vm));
    peri_list_init(&worker->visits);
    pthread_cond_init(&worker->ready, NULL);
    int rc = uv_loop_init(&worker->uv);
    if (rc != 0)
        return rc;
    peri_timers_open(&worker->timers, &worker->uv);
    worker->cut.fire = on_cut;
    uv_async_init(&worker->uv, &worker->wake, on_wake);
    uv_unref((uv_handle_t *) &worker->wake);
    worker->wake.data = worker;
    pthread_t thread;
    atomic_fetch_add(&workers->refs, 1);
    count_threads(1);
    rc = -pthread_create(&thread, NULL, worker_main, worker);
    if (rc == 0) {
        pthread_detach(thread);
        workers->started++;
        return 0;
    }
    atomic_fetch_sub(&workers->refs, 1);
    count_threads(-1);
    peri_timers_close(&worker->timers);
    uv_close((uv_handle_t *) &worker->wake, NULL);
    uv_run(&worker->uv, UV_RUN_DEFAULT);
    uv_loop_close(&worker->uv);
    return rc;
}

int peri_workers_open(struct peri_workers **opened, const struct peri_config *config,
                      const struct peri_vm *first, const atomic_ullong *load_until,
                      struct peri_texts *texts, struct peri_buf *error)
{
    *opened = NULL;
    if (first->app.threaded_count == 0)
        return 0;
    struct peri_workers *workers = allocate(sizeof(*workers));
    workers->config = config;
    workers->first = first;
    workers->error = error;
    workers->load_until = load_until;
    workers->texts = texts;
    atomic_init(&workers->refs, 1);
    workers->count = (unsigned) config->threads + first->app.cleans_threaded;
    workers->max_depth = first->app.limits.max_queued;
    workers->max_wait_ms = first->app.limits.queue_timeout_ms;
    workers->stats.threads = (unsigned) config->threads;
    workers->all = allocate(workers->count * sizeof(*workers->all));
    if (first->app.cleans_threaded)
        workers->reserve = &workers->all[config->threads];
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->news, NULL);
    peri_list_init(&workers->queue);
    peri_list_init(&workers->urgent);
    if (first->life.generation != NULL)
        workers->generation = first->life.generation->number;
    int rc = 0;
    for (unsigned i = 0; i < workers->count && rc == 0; i++)
        rc = start(workers, i);
    if (rc != 0)
        peri_buf_addf(error, "cannot start a worker thread: %s", uv_strerror(rc));

    pthread_mutex_lock(&threads.lock);
    peri_list_append(&threads.workers, &workers->link);
    pthread_mutex_unlock(&threads.lock);

    pthread_mutex_lock(&workers->lock);
    while (workers->loaded < workers->started)
        pthread_cond_wait(&workers->news, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
    workers->error = NULL;
    workers->first = NULL;
    workers->texts = NULL;
    if (rc == 0)
        rc = workers->status;
    if (rc != 0)
        peri_workers_release(workers);
    else
        *opened = workers;
    return rc;
}

void peri_workers_release(struct peri_workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->closing = true;
    workers->idle = NULL;
    for (unsigned i = 0; i < workers->started; i++) {
        struct peri_worker *worker = &workers->all[i];
        tell(worker, "its version of the app has ended");
        pthread_cond_signal(&worker->ready);
    }
    pthread_mutex_unlock(&workers->lock);
    workers_unref(workers);
}

void peri_workers_stop_by(uint64_t due_ns)
{
    pthread_mutex_lock(&threads.lock);
    atomic_store(&threads.stop_by, due_ns);
    for (struct peri_list *at = threads.workers.next; at != &threads.workers; at = at->next) {
        struct peri_workers *workers = peri_container_of(at, struct peri_workers, link);
        pthread_mutex_lock(&workers->lock);
        for (unsigned i = 0; workers->closing && i < workers->started; i++)
            tell(&workers->all[i], "the server stops"); /* it has less time than it thought */
        pthread_mutex_unlock(&workers->lock);
    }
    pthread_mutex_unlock(&threads.lock);
}

bool peri_workers_wait(uint64_t timeout_ms)
{
    uint64_t now = uv_hrtime();
    uint64_t stop_by = atomic_load(&threads.stop_by);
    if (stop_by > now)
        timeout_ms += (stop_by - now) / 1000000;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t) (timeout_ms / 1000);
    until.tv_nsec += (long) (timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    int rc = 0;
    pthread_mutex_lock(&threads.lock);
    while (threads.count > 0 && rc == 0)
        rc = pthread_cond_timedwait(&threads.ended, &threads.lock, &until);
    bool ended = threads.count == 0;
    pthread_mutex_unlock(&threads.lock);
    return ended;
}

struct peri_workers_stats peri_workers_stats(struct peri_workers *workers)
{
    struct peri_workers_stats stats = {0};
    if (workers == NULL)
        return stats;
    pthread_mutex_lock(&workers->lock);
    stats = workers->stats;
    pthread_mutex_unlock(&workers->lock);
    return stats;
}
