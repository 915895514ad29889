#include "generation.h"

#include "log.h"
#include "texts.h"
#include "worker.h"

#include <lauxlib.h>
#include <stdlib.h>

#define CUT_MS 1000 /* cancelled tasks may clean up for so long before somebody is told */

/* --- made and loaded, on any thread ------------------------------------------------------------
 */

struct peri_generation *peri_generation_new(uint64_t number, unsigned count)
{
    struct peri_generation *generation = calloc(1, sizeof(*generation));
    if (generation == NULL)
        return NULL;
    generation->vms = calloc(count, sizeof(*generation->vms));
    if (generation->vms == NULL) {
        free(generation);
        return NULL;
    }
    generation->number = number;
    generation->count = count;
    atomic_init(&generation->references, 1);
    pthread_mutex_init(&generation->mutex, NULL);
    return generation;
}

void peri_generation_release(struct peri_generation *generation)
{
    /* VMs that no loop has adopted hold no reference: the last one to leave closes them. */
    if (atomic_fetch_sub(&generation->references, 1) != 1)
        return;
    for (unsigned i = 0; i < generation->count; i++) {
        struct peri_vm *vm = generation->vms[i];
        if (vm != NULL && vm->life.phase == PERI_LOADING) {
            peri_vm_close(vm);
            free(vm);
        }
    }
    peri_workers_release(generation->workers);
    pthread_mutex_destroy(&generation->mutex);
    peri_buf_deinit(&generation->error);
    free(generation->vms);
    free(generation);
}

/* A VM in its place; NULL: out of memory. */
static struct peri_vm *add_vm(struct peri_generation *generation, unsigned index)
{
    struct peri_vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL || peri_vm_open(vm, NULL, NULL) != 0) {
        free(vm);
        return NULL;
    }
    vm->life.generation = generation;
    vm->silent = index > 0;
    generation->vms[index] = vm;
    return vm;
}

static int open_workers(struct peri_generation *generation, const struct peri_config *config,
                        struct peri_texts *texts, struct peri_buf *error)
{
    for (unsigned i = 1; i < generation->count; i++) {
        if (!peri_workers_agree(generation->vms[0], generation->vms[i], error))
            return UV_EINVAL;
    }
    int rc = peri_workers_open(&generation->workers, config, generation->vms[0],
                               &generation->load_until, texts, error);
    for (unsigned i = 0; i < generation->count; i++)
        generation->vms[i]->workers = generation->workers;
    return rc;
}

static int load_all(struct peri_generation *generation, const struct peri_config *config,
                    struct peri_texts *texts, struct peri_buf *error)
{
    for (unsigned i = 0; i < generation->count; i++) {
        struct peri_vm *vm = add_vm(generation, i);
        if (vm == NULL) {
            peri_buf_add_str(error, "out of memory: the app cannot be loaded");
            return UV_ENOMEM;
        }
        vm->load_until = &generation->load_until;
        vm->texts = texts;
        vm->lists_files = config->dev && i == 0;
        int rc = peri_vm_load(vm, config, error);
        if (rc != 0)
            return rc;
        if (!peri_app_agrees(&generation->vms[0]->app, &vm->app, error))
            return UV_EINVAL;
    }
    return open_workers(generation, config, texts, error);
}

int peri_generation_load(struct peri_generation *generation, const struct peri_config *config,
                         struct peri_buf *error)
{
    struct peri_texts *texts = peri_texts_new(); /* without it files are read again and again */
    int rc = load_all(generation, config, texts, error);
    peri_texts_free(texts);
    return rc;
}

int peri_generation_load_nothing(struct peri_generation *generation,
                                 const struct peri_config *config)
{
    for (unsigned i = 0; i < generation->count; i++) {
        struct peri_vm *vm = add_vm(generation, i);
        if (vm == NULL || peri_app_empty(&vm->app, config) != 0)
            return UV_ENOMEM;
    }
    return 0;
}

/* --- the start, on the loop --------------------------------------------------------------------
 */

/* Only what wakes somebody is done here: Lua is on the stack. */
static void on_drained(struct peri_tasks *tasks)
{
    struct peri_life *life = &peri_container_of(tasks, struct peri_vm, tasks)->life;
    if (life->phase >= PERI_LEAVING)
        uv_async_send(&life->loop->wake);
    peri_loop_tasks_ended(life->loop);
}

static void on_started(struct peri_call *call)
{
    struct peri_life *life = &call->vm->life;
    struct peri_generation *generation = life->generation;
    life->phase = PERI_READY;
    life->started = life->error.len == 0;
    if (!life->started) {
        pthread_mutex_lock(&generation->mutex);
        if (generation->error.len == 0)
            peri_buf_add(&generation->error, life->error.data, life->error.len);
        pthread_mutex_unlock(&generation->mutex);
        peri_buf_deinit(&life->error);
    }
    if (atomic_fetch_sub(&generation->starting, 1) == 1)
        uv_async_send(generation->started);
    if (atomic_load(&generation->given_up))
        uv_async_send(&life->loop->wake);
}

void peri_generation_adopt(struct peri_generation *generation, struct peri_loop *loop)
{
    struct peri_vm *vm = generation->vms[loop->index];
    struct peri_life *life = &vm->life;
    atomic_fetch_add(&generation->references, 1);
    life->loop = loop;
    life->phase = PERI_STARTING;
    life->call = (struct peri_call){.error = &life->error, .ended = on_started, .vm = vm};
    peri_list_append(&loop->vms, &life->link);
    vm->tasks.drained = on_drained;
    peri_vm_attach(vm, &loop->uv, &loop->timers);
    if (vm->app.start == LUA_NOREF)
        on_started(&life->call);
    else
        peri_vm_begin(vm, &life->call, vm->app.start, 0);
}

/* --- the end, on the loop ----------------------------------------------------------------------
 */

static bool is_idle(const struct peri_vm *vm)
{
    return vm->life.exchanges == 0 && vm->tasks.alive == 0;
}

static void on_grace_over(struct peri_timer *timer)
{
    struct peri_life *life = peri_container_of(timer, struct peri_life, grace);
    struct peri_vm *vm = peri_container_of(life, struct peri_vm, life);
    /* Every time again: a task that cleans up may have started others. */
    peri_tasks_cancel(&vm->tasks, "a new version of the app has taken over");
    if (life->reminders < 2 && ++life->reminders == 2)
        peri_log_warn("%u tasks of the version before do not end, though they were cancelled",
                      vm->tasks.alive);
    peri_timer_start(vm->timers, timer, uv_now(&life->loop->uv) + CUT_MS);
}

static void leave(struct peri_vm *vm)
{
    struct peri_life *life = &vm->life;
    life->phase = PERI_LEAVING;
    peri_background_stop(vm);
    life->grace.fire = on_grace_over;
    peri_timer_start(vm->timers, &life->grace,
                     uv_now(&life->loop->uv) + vm->app.limits.shutdown_grace_ms);
    uv_async_send(&life->loop->wake); /* it may be idle already */
}

void peri_generation_follow(struct peri_loop *loop)
{
    struct peri_generation *current =
        atomic_load_explicit(&loop->server->generation, memory_order_acquire);
    struct peri_vm *before = loop->vm;
    if (current == NULL || (before != NULL && before->life.generation == current))
        return;
    loop->vm = current->vms[loop->index];
    loop->vm->life.phase = PERI_CURRENT;
    if (before != NULL)
        leave(before);
    if (loop->index == 0)
        peri_background_start(loop->vm);
}

static void close_vm(struct peri_vm *vm)
{
    peri_timer_stop(vm->timers, &vm->life.grace);
    vm->life.loop->gauges.closed_overruns += vm->tasks.overruns;
    peri_vm_close(vm);
    vm->tasks.overruns = 0; /* it is counted there now */
    vm->life.phase = PERI_CLOSED;
}

static void free_vm(struct peri_vm *vm)
{
    struct peri_generation *generation = vm->life.generation;
    peri_list_remove(&vm->life.link);
    generation->vms[vm->life.loop->index] = NULL;
    peri_buf_deinit(&vm->life.error);
    free(vm);
    peri_generation_release(generation);
}

static void complain(struct peri_vm *vm)
{
    struct peri_buf *error = &vm->life.error;
    if (error->len > 0)
        peri_log_error("the app did not stop cleanly: %.*s", (int) error->len, error->data);
    peri_buf_deinit(error);
}

static void stop(struct peri_vm *vm)
{
    struct peri_life *life = &vm->life;
    life->phase = PERI_STOPPING;
    life->call = (struct peri_call){.error = &life->error, .over = true};
    if (life->started && vm->app.stop != LUA_NOREF)
        peri_vm_begin(vm, &life->call, vm->app.stop, vm->app.limits.shutdown_grace_ms);
    life->started = false;
}

static void tend(struct peri_vm *vm)
{
    struct peri_life *life = &vm->life;
    if (life->phase == PERI_READY && atomic_load(&life->generation->given_up))
        leave(vm);
    if (life->phase == PERI_STARTING && atomic_load(&life->generation->given_up))
        peri_tasks_cancel(&vm->tasks, "the app is not to start");
    if (life->phase == PERI_CLOSED) {
        free_vm(vm);
        return;
    }
    if (life->phase == PERI_LEAVING && is_idle(vm))
        stop(vm);
    if (life->phase == PERI_STOPPING && is_idle(vm)) {
        complain(vm);
        close_vm(vm);
        uv_async_send(&life->loop->wake); /* its handles are closed at the end of this turn */
    }
}

void peri_generation_tend(struct peri_loop *loop)
{
    struct peri_list *next = NULL;
    for (struct peri_list *at = loop->vms.next; at != &loop->vms; at = next) {
        next = at->next;
        tend(peri_container_of(at, struct peri_vm, life.link));
    }
}

/* --- the end of the loop -----------------------------------------------------------------------
 */

void peri_generation_cancel(struct peri_loop *loop, unsigned cleanup_ms, const char *reason)
{
    for (struct peri_list *at = loop->vms.next; at != &loop->vms; at = at->next) {
        struct peri_vm *vm = peri_container_of(at, struct peri_vm, life.link);
        if (vm->life.phase == PERI_CLOSED)
            continue;
        peri_tasks_bound_cleanup(&vm->tasks, cleanup_ms);
        peri_tasks_end_by(&vm->tasks, peri_timers_now(vm->timers) + cleanup_ms);
        peri_tasks_cancel(&vm->tasks, reason);
    }
}

unsigned peri_generation_tasks(const struct peri_loop *loop)
{
    unsigned count = 0;
    for (const struct peri_list *at = loop->vms.next; at != &loop->vms; at = at->next)
        count += peri_container_of(at, struct peri_vm, life.link)->tasks.alive;
    return count;
}

void peri_generation_close(struct peri_loop *loop)
{
    for (struct peri_list *at = loop->vms.next; at != &loop->vms; at = at->next) {
        struct peri_vm *vm = peri_container_of(at, struct peri_vm, life.link);
        if (vm->life.phase == PERI_CLOSED)
            continue;
        vm->tasks.drained = NULL; /* nobody waits for the loop any more */
        if (vm->life.started && vm->app.stop != LUA_NOREF)
            peri_vm_call(vm, vm->app.stop, vm->app.limits.shutdown_grace_ms, NULL, &vm->life.error);
        complain(vm);
        close_vm(vm);
    }
}

void peri_generation_free(struct peri_loop *loop)
{
    struct peri_list *link;
    while ((link = peri_list_pop(&loop->vms)) != NULL)
        free_vm(peri_container_of(link, struct peri_vm, life.link));
    loop->vm = NULL;
}
