#include "trip.h"

#include "vm.h"
#include "worker.h"

#include <lauxlib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define KEPT 16384     /* memory that a trip keeps in each buffer for the next time */
#define KEPT_TRIPS 256 /* trips a mailbox keeps */
#define SECOND_NS 1000000000

#define FORSAKEN "nobody waits for its result any more"
#define CLOSED "the loop that this call was for has ended its version of the app"

/* Where results come home. Outlives its VM while trips that nobody waits for still run. */
struct peri_mailbox {
    uv_async_t async;
    uv_idle_t turn; /* runs while something is to leave */
    struct peri_vm *vm;
    struct peri_list leaving; /* asked for in this turn of the loop */
    pthread_mutex_t lock;
    struct peri_list arrived;
    struct peri_list visitors; /* trips of workers, that wait for a task */
    bool closed;
    atomic_uint refs; /* the VM's, one for each trip, and for each worker that may call back */
    struct peri_list guests; /* trips of workers, in tasks of this VM */
    struct peri_list spare;
    unsigned spare_count;
    struct peri_trip *writing; /* taken, and not given to a worker; its writer may have raised */
    struct peri_trip *reading; /* the finish of this one runs, or has raised */
};

struct peri_trip_op {
    struct peri_op op;
    struct peri_trip *trip; /* NULL once cancelled */
    int (*finish)(lua_State *L, struct peri_trip *trip);
    struct peri_timer late;
    struct peri_timers *timers;
};

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("perigee: out of memory (a trip)\n", stderr);
        abort();
    }
    return memory;
}

static void mailbox_unref(struct peri_mailbox *mailbox)
{
    if (atomic_fetch_sub(&mailbox->refs, 1) > 1)
        return;
    pthread_mutex_destroy(&mailbox->lock);
    free(mailbox);
}

static void drop_cargo(struct peri_trip *trip)
{
    if (trip->cargo != NULL)
        trip->drop(trip->cargo);
    trip->cargo = NULL;
}

static void trip_free(struct peri_trip *trip)
{
    drop_cargo(trip);
    peri_buf_deinit(&trip->in);
    peri_buf_deinit(&trip->out);
    mailbox_unref(trip->home);
    free(trip);
}

/* On a thread that is not the origin's. */
static void trip_unref_elsewhere(struct peri_trip *trip)
{
    if (atomic_fetch_sub(&trip->refs, 1) == 1)
        trip_free(trip);
}

/* On the origin's thread, which keeps the memory. */
static void trip_unref(struct peri_trip *trip)
{
    if (atomic_fetch_sub(&trip->refs, 1) > 1)
        return;
    struct peri_mailbox *home = trip->home;
    if (home->closed || home->spare_count >= KEPT_TRIPS) {
        trip_free(trip);
        return;
    }
    drop_cargo(trip);
    peri_buf_reset(&trip->in, KEPT);
    peri_buf_reset(&trip->out, KEPT);
    home->spare_count++;
    peri_list_append(&home->spare, &trip->link);
}

static void arrive(struct peri_trip *trip)
{
    struct peri_trip_op *op = trip->op;
    trip->op = NULL;
    if (op != NULL) {
        peri_timer_stop(op->timers, &op->late);
        peri_op_done(&op->op);
        if (op->op.interrupted) { /* a visit: its finish will not run */
            op->trip = NULL;
            trip_unref(trip);
        }
    }
    trip_unref(trip); /* NOLINT(clang-analyzer-unix.Malloc): what was the other side's */
}

/* --- guests ------------------------------------------------------------------------------------
 */

/* Sends a visitor back; `error` is why it did not come to anything, or NULL. */
static void see_off(struct peri_trip *trip, const char *error)
{
    peri_list_remove(&trip->link);
    if (trip->parent != NULL)
        trip_unref(trip->parent);
    trip->parent = NULL;
    if (error != NULL) {
        trip->failed = true;
        trip->out.len = 0;
        peri_buf_add_str(&trip->out, error);
    }
    peri_trip_return(trip);
}

static void on_guest_ended(struct peri_task *task, void *owner, bool failed)
{
    struct peri_trip *trip = owner;
    trip->guest = NULL;
    see_off(trip, failed ? peri_task_error(task) : NULL);
}

struct peri_task *peri_trip_caller(const struct peri_task *guest)
{
    if (guest->ended != on_guest_ended)
        return NULL;
    const struct peri_trip *parent = ((const struct peri_trip *) guest->owner)->parent;
    return parent != NULL && parent->op != NULL ? parent->op->op.task : NULL;
}

/* The body of a guest. */
static int guest_main(lua_State *L)
{
    struct peri_trip *trip = lua_touserdata(L, 1);
    trip->guest = peri_task_current(L);
    trip->guest->guest = true;
    if (atomic_load(&trip->unwanted))
        peri_task_cancel(trip->guest, FORSAKEN);
    return trip->body(L);
}

static void receive(struct peri_mailbox *mailbox, struct peri_trip *trip)
{
    peri_list_append(&mailbox->guests, &trip->link);
    peri_task_start(&mailbox->vm->tasks, guest_main, trip, on_guest_ended);
}

static void cancel_guests(struct peri_mailbox *mailbox)
{
    for (struct peri_list *at = mailbox->guests.next; at != &mailbox->guests; at = at->next) {
        struct peri_trip *trip = peri_container_of(at, struct peri_trip, link);
        if (trip->guest != NULL && atomic_load(&trip->unwanted))
            peri_task_cancel(trip->guest, FORSAKEN);
    }
}

static void on_mail(uv_async_t *async)
{
    struct peri_mailbox *mailbox = async->data;
    struct peri_list arrived;
    struct peri_list visitors;
    peri_list_init(&arrived);
    peri_list_init(&visitors);
    pthread_mutex_lock(&mailbox->lock);
    peri_list_take(&arrived, &mailbox->arrived);
    peri_list_take(&visitors, &mailbox->visitors);
    pthread_mutex_unlock(&mailbox->lock);
    struct peri_list *link;
    while ((link = peri_list_pop(&arrived)) != NULL)
        arrive(peri_container_of(link, struct peri_trip, link));
    cancel_guests(mailbox);
    while ((link = peri_list_pop(&visitors)) != NULL)
        receive(mailbox, peri_container_of(link, struct peri_trip, link));
}

static struct peri_mailbox *mailbox_of(struct peri_vm *vm)
{
    if (vm->mailbox != NULL)
        return vm->mailbox;
    struct peri_mailbox *mailbox = allocate(sizeof(*mailbox));
    mailbox->vm = vm;
    atomic_init(&mailbox->refs, 1);
    pthread_mutex_init(&mailbox->lock, NULL);
    peri_list_init(&mailbox->leaving);
    peri_list_init(&mailbox->arrived);
    peri_list_init(&mailbox->visitors);
    peri_list_init(&mailbox->guests);
    peri_list_init(&mailbox->spare);
    uv_async_init(vm->tasks.loop, &mailbox->async, on_mail);
    uv_unref((uv_handle_t *) &mailbox->async);
    mailbox->async.data = mailbox;
    uv_idle_init(vm->tasks.loop, &mailbox->turn);
    mailbox->turn.data = mailbox;
    return vm->mailbox = mailbox;
}

static void on_mailbox_closed(uv_handle_t *handle)
{
    mailbox_unref(handle->data);
}

void peri_mailbox_close(struct peri_mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    struct peri_list arrived;
    struct peri_list *link;
    peri_list_init(&arrived);
    pthread_mutex_lock(&mailbox->lock);
    mailbox->closed = true;
    peri_list_take(&arrived, &mailbox->arrived);
    pthread_mutex_unlock(&mailbox->lock); /* nobody touches its lists from here on */
    while ((link = peri_list_pop(&arrived)) != NULL)
        arrive(peri_container_of(link, struct peri_trip, link));
    while (!peri_list_empty(&mailbox->visitors)) { /* each leaves the list as it is seen off */
        link = mailbox->visitors.next;
        see_off(peri_container_of(link, struct peri_trip, link), /* NOLINT(clang-analyzer-*) */
                CLOSED);
    }
    if (mailbox->reading != NULL)
        trip_unref(mailbox->reading);
    if (mailbox->writing != NULL)
        trip_unref(mailbox->writing);
    while ((link = peri_list_pop(&mailbox->spare)) != NULL)
        trip_free(peri_container_of(link, struct peri_trip, link));
    mailbox->vm->mailbox = NULL;
    atomic_fetch_add(&mailbox->refs, 1); /* one for each handle */
    uv_close((uv_handle_t *) &mailbox->turn, on_mailbox_closed);
    uv_close((uv_handle_t *) &mailbox->async, on_mailbox_closed);
}

void peri_trip_return(struct peri_trip *trip)
{
    struct peri_mailbox *home = trip->home;
    pthread_mutex_lock(&home->lock);
    bool closed = home->closed;
    if (!closed) {
        bool first = peri_list_empty(&home->arrived);
        peri_list_append(&home->arrived, &trip->link);
        if (first) /* under the lock, for its VM may close behind it */
            uv_async_send(&home->async);
    }
    pthread_mutex_unlock(&home->lock);
    if (closed)
        trip_unref_elsewhere(trip);
}

struct peri_trip *peri_trip_take(struct peri_vm *vm)
{
    struct peri_mailbox *home = mailbox_of(vm);
    if (home->writing != NULL)
        trip_unref(home->writing);
    struct peri_list *link = peri_list_pop(&home->spare);
    struct peri_trip *trip = NULL;
    if (link != NULL) {
        home->spare_count--;
        trip = peri_container_of(link, struct peri_trip, link);
        trip->urgent = trip->failed = trip->promised = false;
        atomic_store(&trip->unwanted, false);
        trip->ran_ns = 0;
        trip->state = PERI_TRIP_DONE;
    } else {
        trip = allocate(sizeof(*trip));
        trip->home = home;
        peri_list_init(&trip->link);
        atomic_fetch_add(&home->refs, 1);
    }
    atomic_store(&trip->refs, 1);
    return home->writing = trip;
}

/* --- on the origin's thread --------------------------------------------------------------------
 */

/* Before the loop sleeps: gives away what the tasks of this turn have asked for, in one go. */
static void on_turn(uv_idle_t *idle)
{
    struct peri_mailbox *mailbox = idle->data;
    struct peri_workers *workers = mailbox->vm->workers;
    struct peri_list refused;
    struct peri_list *link;
    uv_idle_stop(idle);
    peri_list_init(&refused);
    peri_workers_give(workers, &mailbox->leaving, &refused);
    while ((link = peri_list_pop(&refused)) != NULL)
        arrive(peri_container_of(link, struct peri_trip, link));
}

/* Takes a trip back that no worker has yet. */
static bool take_back(struct peri_workers *workers, struct peri_trip *trip)
{
    if (!trip->leaving)
        return peri_workers_take_back(workers, trip);
    peri_list_remove(&trip->link);
    trip->leaving = false;
    return true;
}

static void on_late(struct peri_timer *timer)
{
    struct peri_trip_op *op = peri_container_of(timer, struct peri_trip_op, late);
    struct peri_trip *trip = op->trip;
    struct peri_workers *workers = trip->home->vm->workers;
    if (!take_back(workers, trip))
        return;
    peri_workers_count_refused(workers);
    trip->state = PERI_TRIP_LATE;
    trip->wait_ns = uv_hrtime() - trip->since;
    arrive(trip);
}

/* The caller goes on at once; or, where it has to clean up, with a result that is all but here. */
static void trip_cancel(struct peri_op *base)
{
    struct peri_trip_op *op = peri_container_of(base, struct peri_trip_op, op);
    struct peri_trip *trip = op->trip;
    struct peri_workers *workers = trip->home->vm->workers;
    bool taken = take_back(workers, trip);
    if (!taken && !peri_workers_forsake(workers, trip)) {
        base->interrupted = false;
        return;
    }
    op->trip = NULL;
    trip->op = NULL;
    peri_timer_stop(op->timers, &op->late);
    peri_op_done(base);
    if (taken)
        trip_unref(trip); /* what would have been the worker's */
    trip_unref(trip);     /* NOLINT(clang-analyzer-unix.Malloc): it had both */
}

/* Raises an HTTP error 503 with a Retry-After: whole seconds, at least one. */
static int raise_refused(lua_State *L, const struct peri_trip *trip)
{
    unsigned long long seconds = (trip->wait_ns + SECOND_NS - 1) / SECOND_NS;
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, 503);
    lua_setfield(L, -2, "status");
    lua_pushstring(L, trip->state == PERI_TRIP_FULL ? "Too many requests wait for a thread"
                                                    : "No thread was free in time");
    lua_setfield(L, -2, "detail");
    lua_createtable(L, 1, 0);
    lua_createtable(L, 2, 0);
    lua_pushliteral(L, "Retry-After");
    lua_rawseti(L, -2, 1);
    lua_pushfstring(L, "%I", (LUAI_UACINT) (seconds > 0 ? seconds : 1));
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, 1);
    lua_setfield(L, -2, "headers");
    luaL_setmetatable(L, "perigee.HttpError");
    return lua_error(L);
}

static int trip_finish(lua_State *L, struct peri_op *base)
{
    struct peri_trip_op *op = peri_container_of(base, struct peri_trip_op, op);
    struct peri_trip *trip = op->trip;
    struct peri_mailbox *home = trip->home;
    op->trip = NULL;
    if (home->reading != NULL) /* kept until now in case its finish raised */
        trip_unref(home->reading);
    home->reading = trip;
    if (trip->state != PERI_TRIP_DONE)
        return raise_refused(L, trip);
    return op->finish(L, trip);
}

int peri_trip_await(lua_State *L, struct peri_trip *trip,
                    int (*finish)(lua_State *L, struct peri_trip *trip))
{
    struct peri_vm *vm = peri_vm_of(L);
    struct peri_trip_op *op = peri_op_new(L, sizeof(*op));
    op->op.finish = trip_finish;
    op->op.cancel = trip_cancel;
    op->trip = trip;
    op->finish = finish;
    op->timers = vm->timers;
    op->late.fire = on_late;
    trip->op = op;
    trip->home->writing = NULL;
    atomic_store(&trip->refs, 2);
    trip->leaving = true;
    peri_list_append(&trip->home->leaving, &trip->link);
    uv_idle_start(&trip->home->turn, on_turn);
    peri_timer_start(vm->timers, &op->late,
                     uv_now(vm->tasks.loop) + peri_workers_max_wait_ms(vm->workers));
    return peri_op_await(L, &op->op);
}

bool peri_trip_place(const struct peri_op *base, uint64_t *generation, int *worker)
{
    if (base == NULL || base->finish != trip_finish)
        return false;
    const struct peri_trip *trip = peri_container_of(base, struct peri_trip_op, op)->trip;
    struct peri_workers *workers = peri_vm_of(base->task->L)->workers;
    *worker = -1;
    if (trip == NULL || workers == NULL)
        return true;
    *generation = peri_workers_generation(workers);
    *worker = peri_workers_place(workers, trip);
    return true;
}

/* --- visits, on the worker's thread ------------------------------------------------------------
 */

struct peri_mailbox *peri_trip_keep_home(struct peri_trip *trip)
{
    atomic_fetch_add(&trip->home->refs, 1);
    return trip->home;
}

void peri_mailbox_put(struct peri_mailbox *mailbox)
{
    mailbox_unref(mailbox);
}

/* Returns false when its VM has been closed. */
static bool wake_host(struct peri_mailbox *host, struct peri_trip *visitor)
{
    pthread_mutex_lock(&host->lock);
    bool open = !host->closed;
    if (open && visitor != NULL)
        peri_list_append(&host->visitors, &visitor->link);
    if (open)
        uv_async_send(&host->async);
    pthread_mutex_unlock(&host->lock);
    return open;
}

/* Hurries the guest. */
static void visit_cancel(struct peri_op *base)
{
    struct peri_trip *trip = peri_container_of(base, struct peri_trip_op, op)->trip;
    atomic_store(&trip->unwanted, true);
    wake_host(trip->host, NULL);
}

/* Not trip_finish itself, by which peri_trip_place() knows who waits for a worker. */
static int visit_finish(lua_State *L, struct peri_op *op)
{
    return trip_finish(L, op);
}

int peri_trip_visit(lua_State *L, struct peri_trip *trip, struct peri_mailbox *host,
                    int (*finish)(lua_State *L, struct peri_trip *trip))
{
    struct peri_trip_op *op = peri_op_new(L, sizeof(*op));
    op->op.finish = visit_finish;
    op->op.cancel = visit_cancel;
    op->trip = trip;
    op->finish = finish;
    op->timers = peri_vm_of(L)->timers;
    trip->op = op;
    trip->host = host;
    trip->home->writing = NULL;
    atomic_store(&trip->refs, 2);
    trip->parent = peri_worker_trip(peri_vm_of(L)->worker);
    if (trip->parent != NULL)
        atomic_fetch_add(&trip->parent->refs, 1);
    if (wake_host(host, trip))
        return peri_op_await(L, &op->op);
    if (trip->parent != NULL)
        trip_unref_elsewhere(trip->parent);
    trip->parent = NULL;
    trip->op = NULL;
    trip_unref(trip);
    trip_unref(trip); /* NOLINT(clang-analyzer-unix.Malloc): it had both */
    return luaL_error(L, "%s", CLOSED);
}
