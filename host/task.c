#include "task.h"

#include "api/api.h"
#include "locals.h"
#include "slice.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_LIMIT                                                                                 \
    1024 /* free coroutines kept; a burst beyond it is given back to the collector                 \
          */

#define NEST_LIMIT 16 /* tasks that start inside of each other: each takes some of the C stack */

/* Bounds the waits of what cleans up in a cancelled scope. */
struct peri_grace {
    struct peri_timer timer;
    struct peri_timers *timers;
    struct peri_task *task;
    struct peri_scope *scope; /* the outermost one that is cleaned up */
    bool over;
};

#define LAST_WORDS_MS 100 /* for the cleanup of what was forced to end */

#define CLEANUP_FRAMES                                                                             \
    200 /* calls below a `<close>` variable that may wait in a cancelled scope                     \
         */

#define RESERVE 16384   /* bytes for a coroutine in a VM that has reached its limit */
#define TOLD_SLICES 8   /* that a cancelled task may use up before it is told where it computes */
#define LAST_SLICES 100 /* that a task may use up when it has been cancelled */
#define MAX_TOLD 100    /* a task that catches its cancellation as often will not end by itself */

static const char CANCELLED_TYPE[] = "perigee.Cancelled";
const char peri_task_wait[] = "wait";

static void run_ready(struct peri_tasks *tasks);
static void run_slow(struct peri_tasks *tasks);
static void on_due(struct peri_timer *timer);
static void on_awake(struct peri_timer *timer);

static struct peri_timers *timers_of(struct peri_tasks *tasks)
{
    return peri_vm_of(tasks->L)->timers;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct peri_tasks *tasks = prepare->data;
    if (!peri_list_empty(&tasks->ready))
        run_ready(tasks);
}

static void on_check(uv_check_t *check)
{
    struct peri_tasks *tasks = check->data;
    if (!peri_list_empty(&tasks->ready))
        run_ready(tasks);
    if (!peri_list_empty(&tasks->slow)) /* the I/O that was ready has been served */
        run_slow(tasks);
}

static void on_idle(uv_idle_t *idle)
{
    (void) idle; /* running at all is what it is for */
}

/* The loop does not block while tasks want to go on. */
static void update_idle(struct peri_tasks *tasks)
{
    if (tasks->loop == NULL)
        return;
    bool busy = !peri_list_empty(&tasks->ready) ||
                (!peri_list_empty(&tasks->slow) && !peri_timer_runs(&tasks->rest));
    if (busy && !uv_is_active((uv_handle_t *) &tasks->idle))
        uv_idle_start(&tasks->idle, on_idle);
    else if (!busy)
        uv_idle_stop(&tasks->idle);
}

static void on_rested(struct peri_timer *timer)
{
    update_idle(peri_container_of(timer, struct peri_tasks, rest));
}

void peri_tasks_open(struct peri_tasks *tasks, lua_State *L, uv_loop_t *loop)
{
    *tasks = (struct peri_tasks){.L = L, .cleanup_ms = PERI_CLEANUP_MS};
    peri_list_init(&tasks->ready);
    peri_list_init(&tasks->slow);
    peri_list_init(&tasks->parked);
    peri_list_init(&tasks->free);
    tasks->rest.fire = on_rested;
    if (loop != NULL)
        peri_tasks_attach(tasks, loop);
}

void peri_tasks_attach(struct peri_tasks *tasks, uv_loop_t *loop)
{
    tasks->loop = loop;
    uv_prepare_init(loop, &tasks->prepare);
    uv_check_init(loop, &tasks->check);
    uv_idle_init(loop, &tasks->idle);
    tasks->prepare.data = tasks;
    tasks->check.data = tasks;
    uv_prepare_start(&tasks->prepare, on_prepare);
    uv_check_start(&tasks->check, on_check);
    uv_unref((uv_handle_t *) &tasks->prepare);
    uv_unref((uv_handle_t *) &tasks->check);
    update_idle(tasks);
}

static void task_free(struct peri_task *task)
{
    struct peri_tasks *tasks = task->all;
    luaL_unref(tasks->L, LUA_REGISTRYINDEX, task->ref);
    peri_heap_give(&peri_vm_of(tasks->L)->heap, task, sizeof(*task));
}

void peri_tasks_close(struct peri_tasks *tasks)
{
    struct peri_list *link;
    while ((link = peri_list_pop(&tasks->free)) != NULL)
        task_free(peri_container_of(link, struct peri_task, link));
    peri_slice_forget(tasks);
    if (tasks->loop == NULL)
        return;
    peri_timer_stop(timers_of(tasks), &tasks->rest);
    peri_timer_stop(timers_of(tasks), &tasks->last_call);
    uv_close((uv_handle_t *) &tasks->prepare, NULL);
    uv_close((uv_handle_t *) &tasks->check, NULL);
    uv_close((uv_handle_t *) &tasks->idle, NULL);
}

/* Runs in a protected call: making a coroutine may raise for want of memory. */
static int new_coroutine(lua_State *L)
{
    struct peri_task *task = lua_touserdata(L, 1);
    task->L = lua_newthread(L);
    task->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static struct peri_task *take(struct peri_tasks *tasks)
{
    struct peri_list *link = peri_list_pop(&tasks->free);
    if (link != NULL) {
        tasks->free_count--;
        return peri_container_of(link, struct peri_task, link);
    }
    struct peri_heap *heap = &peri_vm_of(tasks->L)->heap;
    struct peri_task *task = peri_heap_take(heap, sizeof(*task));
    if (task == NULL)
        return NULL;
    *task = (struct peri_task){.all = tasks, .timer.fire = on_due, .nap.timer.fire = on_awake};
    peri_list_init(&task->link);
    lua_pushcfunction(tasks->L, new_coroutine);
    lua_pushlightuserdata(tasks->L, task);
    if (lua_pcall(tasks->L, 1, 0, 0) != LUA_OK) {
        lua_pop(tasks->L, 1);
        peri_heap_give(heap, task, sizeof(*task));
        return NULL;
    }
    return task;
}

/* A task that nobody waits for is made even where the VM has no memory left: it fails when it runs,
 * as those do that run already. */
static struct peri_task *take_from_reserve(struct peri_tasks *tasks)
{
    struct peri_heap *heap = &peri_vm_of(tasks->L)->heap;
    size_t bar = heap->bar;
    if (heap->limit == 0)
        return NULL;
    heap->bar = (heap->used > heap->limit ? heap->used : heap->limit) + RESERVE;
    struct peri_task *task = take(tasks);
    heap->bar = bar;
    return task;
}

/* An op that a coroutine of the app makes is kept by the registry, as that coroutine could be
 * closed and dropped while libuv knows of the op. A task waits for one thing at a time: one op
 * each. */
static void anchor(lua_State *L, struct peri_task *task)
{
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, task);
    task->anchored = true;
}

static void release_anchor(lua_State *L, struct peri_task *task)
{
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, task);
    task->anchored = false;
}

static void end_grace(struct peri_task *task)
{
    if (task->grace == NULL)
        return;
    peri_timer_stop(task->grace->timers, &task->grace->timer);
    free(task->grace);
    task->grace = NULL;
}

/* Gives the coroutine, whose stack is empty, back to the pool. */
static void recycle(struct peri_task *task)
{
    struct peri_tasks *tasks = task->all;
    peri_scope_close(&task->root);
    if (task->has_locals)
        peri_locals_drop(task);
    if (tasks->free_count >= POOL_LIMIT) {
        task_free(task);
        return;
    }
    tasks->free_count++;
    /* Last in, first out: the warm one is used again. */
    task->link.next = tasks->free.next;
    task->link.prev = &tasks->free;
    tasks->free.next->prev = &task->link;
    tasks->free.next = &task->link;
}

/* Runs the `<close>` variables of a coroutine that failed. They cannot wait, and have one slice. */
static void reset(struct peri_task *task)
{
    struct peri_tasks *tasks = task->all;
    struct peri_task *outer = tasks->current;
    tasks->current = task;
    tasks->unyieldable++;
    task->told = 1; /* by its error */
    task->overstayed = LAST_SLICES;
    void *watched = peri_slice_begin(task);
    peri_slice_reset(task->L);
    peri_slice_end(task, watched);
    tasks->unyieldable--;
    tasks->current = outer;
}

/* What a task held that has met the memory limit is garbage now: nothing else would collect it
 * before the limit is met again, without a reserve. Where many tasks end like that, collecting
 * takes a tenth of the time. Finalizers run on the time of the task. */
static void collect(struct peri_task *task)
{
    struct peri_tasks *tasks = task->all;
    struct peri_task *outer = tasks->current;
    uint64_t began = uv_hrtime();
    if (began < tasks->collect_after)
        return;
    tasks->current = task;
    tasks->unyieldable++;
    void *watched = peri_slice_begin(task);
    lua_gc(tasks->L, LUA_GCCOLLECT);
    peri_slice_end(task, watched);
    tasks->unyieldable--;
    tasks->current = outer;
    peri_heap_settle(&peri_vm_of(tasks->L)->heap);
    uint64_t ended = uv_hrtime();
    tasks->collect_after = ended + 9 * (ended - began);
}

static void finish(struct peri_task *task, int status)
{
    struct peri_tasks *tasks = task->all;
    tasks->alive--;
    task->op = NULL;
    task->interrupted = NULL;
    peri_timer_stop(timers_of(tasks), &task->timer);
    peri_timer_stop(timers_of(tasks), &task->nap.timer); /* of a coroutine that was closed */
    if (task->slow && !task->computed && task->work != NULL)
        task->work->computes = false; /* as it did once */
    task->ended(task, task->owner, status != LUA_OK);

    if (status != LUA_OK)
        reset(task);
    if (task->anchored) /* its coroutine was closed, or the op never awaited */
        release_anchor(task->L, task);
    lua_settop(task->L, 0);
    end_grace(task);
    peri_scope_abandon(&task->root);
    task->work = NULL;
    task->told = task->overstayed = task->ends = 0;
    if (task->starved)
        collect(task);
    task->slow = task->computed = task->killed = task->starved = false;
    recycle(task);
    if (tasks->alive == 0 && tasks->drained != NULL)
        tasks->drained(tasks);
}

static void make_ready(struct peri_task *task)
{
    struct peri_tasks *tasks = task->all;
    peri_list_remove(&task->link);
    peri_list_append(task->slow ? &tasks->slow : &tasks->ready, &task->link);
    update_idle(tasks);
}

const char *peri_task_error(const struct peri_task *task)
{
    /* A number would be made a string, for which there may be no memory. */
    return lua_type(task->L, -1) == LUA_TSTRING ? lua_tostring(task->L, -1) : "the task failed";
}

/* --- deadlines ---------------------------------------------------------------------------------
 */

static void on_due(struct peri_timer *timer)
{
    struct peri_task *task = peri_container_of(timer, struct peri_task, timer);
    peri_task_cancel(task, "its deadline has passed");
    if (task->work != NULL && task->work->expired != NULL)
        task->work->expired(task, task->owner);
}

/* Starts the timer of a task that waits, or computes for long. */
static void start_timer(struct peri_task *task)
{
    struct peri_tasks *tasks = task->all;
    if (task->work != NULL && task->work->timeout_ms != 0 && task->root.seen == NULL &&
        !peri_timer_runs(&task->timer))
        peri_timer_start(timers_of(tasks), &task->timer,
                         uv_now(tasks->loop) + task->work->timeout_ms);
}

void peri_task_set_deadline(struct peri_task *task, uint64_t due)
{
    peri_timer_start(timers_of(task->all), &task->timer, due);
}

static uint64_t now_of(struct peri_tasks *tasks)
{
    const struct peri_timers *timers = timers_of(tasks);
    return timers->frozen ? timers->now : uv_hrtime() / 1000000;
}

/* Whether all cleaning up has had its time. */
static bool is_over(struct peri_tasks *tasks)
{
    return tasks->ends_at != 0 && now_of(tasks) >= tasks->ends_at;
}

static bool is_cancelled(const struct peri_task *task)
{
    return task->told > 0 || task->scope->seen != NULL;
}

void peri_task_used_slice(struct peri_task *task)
{
    start_timer(task);
    uint64_t now = now_of(task->all);
    if (peri_timer_runs(&task->timer) && task->timer.due <= now) {
        peri_timer_stop(timers_of(task->all), &task->timer);
        on_due(&task->timer);
    }
    if (is_cancelled(task) && (is_over(task->all) || task->overstayed++ >= LAST_SLICES))
        task->killed = true;
}

void peri_task_begin_slice(struct peri_task *task)
{
    if (is_cancelled(task) && is_over(task->all))
        task->killed = true;
}

/* --- running -----------------------------------------------------------------------------------
 */

/* Returns whether the task lives on. */
static bool resume(struct peri_task *task, int arguments)
{
    struct peri_tasks *tasks = task->all;
    struct peri_task *outer = tasks->current;
    int results = 0;

    unsigned unyieldable = tasks->unyieldable;
    tasks->unyieldable = 0; /* that of the outer task does not count in here */
    tasks->current = task;
    tasks->resumes++;
    tasks->depth++;
    void *watched = peri_slice_begin(task);
    int status = lua_resume(task->L, tasks->L, arguments, &results);
    peri_slice_end(task, watched);
    tasks->depth--;
    tasks->current = outer;
    tasks->unyieldable = unyieldable;
    struct peri_heap *heap = &peri_vm_of(tasks->L)->heap;
    peri_heap_settle(heap);
    if (__builtin_expect(heap->met_limit, 0)) {
        heap->met_limit = false;
        task->starved = true;
    }

    if (status != LUA_YIELD) {
        finish(task, status);
        return false;
    }
    lua_pop(task->L, results);
    tasks->interrupted = false;
    start_timer(task);
    if (task->since == 0 && tasks->loop != NULL)
        task->since = uv_now(tasks->loop);
    if (task->op == NULL || task->op->done) /* a bare coroutine.yield() lets others run first */
        make_ready(task);
    else
        peri_list_append(&tasks->parked, &task->link);
    return true;
}

struct peri_task *peri_task_new(struct peri_tasks *tasks, struct peri_scope *parent)
{
    struct peri_task *task = take(tasks);
    if (task == NULL && parent == NULL)
        task = take_from_reserve(tasks);
    if (task == NULL)
        return NULL;
    task->root.kind = PERI_SCOPE_TASK;
    peri_scope_open(&task->root, parent, task);
    task->scope = &task->root;
    task->unwinding = false;
    task->has_locals = false;
    task->guest = false;
    task->since = 0;
    task->number = 0;
    return task;
}

void peri_task_drop(struct peri_task *task)
{
    lua_settop(task->L, 0);
    recycle(task);
}

struct peri_task *peri_task_run(struct peri_task *task, void *owner,
                                void (*ended)(struct peri_task *task, void *owner, bool failed))
{
    struct peri_tasks *tasks = task->all;
    task->owner = owner;
    task->ended = ended;
    tasks->alive++;
    if (tasks->depth >= NEST_LIMIT) {
        make_ready(task);
        return task;
    }
    return resume(task, lua_gettop(task->L) - 1) ? task : NULL;
}

struct peri_task *peri_task_start(struct peri_tasks *tasks, lua_CFunction body, void *owner,
                                  void (*ended)(struct peri_task *task, void *owner, bool failed))
{
    struct peri_task *task = peri_task_new(tasks, NULL);
    if (task == NULL) {
        fputs("perigee: out of memory (a coroutine)\n", stderr);
        abort();
    }
    lua_pushcfunction(task->L, body);
    lua_pushlightuserdata(task->L, owner);
    return peri_task_run(task, owner, ended);
}

struct peri_task *peri_task_post(struct peri_tasks *tasks, lua_CFunction body, void *owner,
                                 void (*ended)(struct peri_task *task, void *owner, bool failed))
{
    struct peri_task *task = peri_task_new(tasks, NULL);
    if (task == NULL)
        return NULL;
    lua_pushcfunction(task->L, body);
    lua_pushlightuserdata(task->L, owner);
    task->owner = owner;
    task->ended = ended;
    tasks->alive++;
    make_ready(task);
    return task;
}

static void run_ready(struct peri_tasks *tasks)
{
    struct peri_list batch; /* what becomes ready meanwhile runs after the I/O that is ready now */
    peri_list_init(&batch);
    peri_list_take(&batch, &tasks->ready);

    struct peri_list *link;
    while ((link = peri_list_pop(&batch)) != NULL) {
        struct peri_task *task = peri_container_of(link, struct peri_task, link);
        bool fresh = lua_status(task->L) == LUA_OK;
        tasks->events++;
        if (!fresh && task->work != NULL && task->work->computes && !task->slow) {
            /* Woken together with the one that was seen to compute, it does not speak for others.
             */
            task->slow = task->computed = true;
            peri_list_append(&tasks->slow, &task->link);
            continue;
        }
        resume(task, fresh ? lua_gettop(task->L) - 1 : 0);
    }
    update_idle(tasks);
}

/* Gives one slow task a slice, and then as much time to the others. They are taken to be there when
 * anything happened in the loop since the slice before the last one: a client needs a moment to ask
 * again. Where all must end nobody is left to wait for. */
static void run_slow(struct peri_tasks *tasks)
{
    uint64_t began = uv_hrtime();
    if (began < tasks->rest_until && tasks->events != tasks->events_before &&
        !timers_of(tasks)->frozen && !is_over(tasks)) {
        if (!peri_timer_runs(&tasks->rest))
            peri_timer_start(timers_of(tasks), &tasks->rest, tasks->rest_until / 1000000 + 1);
        update_idle(tasks);
        return;
    }
    peri_timer_stop(timers_of(tasks), &tasks->rest);
    resume(peri_container_of(peri_list_pop(&tasks->slow), struct peri_task, link), 0);
    uint64_t ended = uv_hrtime();
    tasks->rest_until = ended + (ended - began);
    tasks->events_before = tasks->events_last;
    tasks->events_last = tasks->events;
    update_idle(tasks);
}

void peri_task_cancel(struct peri_task *task, const char *reason)
{
    peri_scope_cancel(&task->root, reason);
}

void peri_task_interrupt(struct peri_task *task)
{
    struct peri_op *op = task->op;
    if (op == NULL || op->done || op->deaf || op->interrupted)
        return;
    op->interrupted = true;
    if (op->cancel != NULL)
        op->cancel(op);
}

/* Calls `visit` for the tasks of a list. It may wake any of them, which moves these to another one:
 * they are not visited then. */
static void each(struct peri_list *tasks, void (*visit)(struct peri_task *task, const char *reason),
                 const char *reason)
{
    struct peri_list batch;
    struct peri_list *link;
    peri_list_init(&batch);
    peri_list_take(&batch, tasks);
    while ((link = peri_list_pop(&batch)) != NULL) {
        peri_list_append(tasks, link);
        visit(peri_container_of(link, struct peri_task, link), reason);
    }
}

void peri_tasks_cancel(struct peri_tasks *tasks, const char *reason)
{
    each(&tasks->ready, peri_task_cancel, reason);
    each(&tasks->slow, peri_task_cancel, reason);
    each(&tasks->parked, peri_task_cancel, reason);
}

/* A task that nobody has cancelled began later: it is the app's stop. */
static void force(struct peri_task *task, const char *reason)
{
    (void) reason;
    if (task->root.seen != NULL)
        peri_scope_force(&task->root, task->root.seen);
}

static void on_last_call(struct peri_timer *timer)
{
    struct peri_tasks *tasks = peri_container_of(timer, struct peri_tasks, last_call);
    tasks->cleanup_ms = LAST_WORDS_MS;
    each(&tasks->ready, force, NULL);
    each(&tasks->slow, force, NULL);
    each(&tasks->parked, force, NULL);
}

void peri_tasks_end_by(struct peri_tasks *tasks, uint64_t due)
{
    struct peri_timer *last_call = &tasks->last_call;
    if (peri_timer_runs(last_call) && last_call->due <= due)
        return;
    last_call->fire = on_last_call;
    peri_timer_start(timers_of(tasks), last_call, due);
}

struct peri_task *peri_task_current(lua_State *L)
{
    return peri_vm_of(L)->tasks.current;
}

/* --- cleaning up in a cancelled scope ----------------------------------------------------------
 */

static void on_grace_over(struct peri_timer *timer)
{
    struct peri_grace *grace = peri_container_of(timer, struct peri_grace, timer);
    grace->over = true;
    peri_scope_force(grace->scope, "its cleanup took too long");
    peri_task_interrupt(grace->task);
}

static void bound_list(struct peri_list *tasks, uint64_t due)
{
    for (struct peri_list *at = tasks->next; at != tasks; at = at->next) {
        struct peri_grace *grace = peri_container_of(at, struct peri_task, link)->grace;
        if (grace != NULL && peri_timer_runs(&grace->timer) && grace->timer.due > due)
            peri_timer_start(grace->timers, &grace->timer, due);
    }
}

void peri_tasks_bound_cleanup(struct peri_tasks *tasks, unsigned ms)
{
    uint64_t due = peri_timers_now(timers_of(tasks)) + ms;
    tasks->cleanup_ms = ms;
    tasks->ends_at = due;
    bound_list(&tasks->ready, due);
    bound_list(&tasks->slow, due);
    bound_list(&tasks->parked, due);
}

/* Whether a `<close>` variable of the innermost scope is being closed because its block was left
 * without an error. What is called very deep in there does not count: Lua walks to each level from
 * the top, so that the way down a deep recursion would take seconds. */
static bool closes_variable(lua_State *L)
{
    lua_Debug frame;
    for (int level = 0; level < CLEANUP_FRAMES && lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "nf", &frame);
        bool border = peri_opens_scope(lua_tocfunction(L, -1));
        lua_pop(L, 1);
        if (strcmp(frame.namewhat, "metamethod") == 0 && strcmp(frame.name, "close") == 0)
            return true;
        if (border && level > 0)
            return false;
    }
    return false;
}

/* An error that comes between any two instructions is the last resort: a task that may still wait
 * meets its cancellation there, and what cleans up is let alone. */
bool peri_task_must_end(lua_State *L, const struct peri_task *task)
{
    if (task->killed)
        return true;
    return task->scope->seen != NULL && task->told == 0 && task->overstayed >= TOLD_SLICES &&
           !task->unwinding && !closes_variable(L);
}

/* Whether code of a cancelled scope may wait, as it cleans up; counts its time from the first wait.
 */
static bool may_clean_up(lua_State *L, struct peri_task *task)
{
    if (task->killed || (task->grace != NULL && task->grace->over))
        return false;
    if (!task->unwinding && !closes_variable(L))
        return false;
    if (task->grace != NULL)
        return true;
    struct peri_grace *grace = calloc(1, sizeof(*grace));
    if (grace == NULL)
        return false;
    grace->timers = peri_vm_of(L)->timers;
    grace->timer.fire = on_grace_over;
    grace->task = task;
    grace->scope = task->scope;
    task->grace = grace;
    uv_update_time(task->all->loop);
    peri_timer_start(grace->timers, &grace->timer, uv_now(task->all->loop) + task->all->cleanup_ms);
    return true;
}

void peri_task_enter(lua_State *L, struct peri_task *task, struct peri_opened_scope *opened)
{
    struct peri_scope *scope = &opened->scope;
    opened->L = L;
    /* A scope that is opened to clean up has its own deadlines, within the bound of all. */
    if (task->scope->seen != NULL && may_clean_up(L, task))
        scope->shield = true;
    peri_scope_open(scope, task->scope, task);
    if (scope->shield && scope->parent->seen != NULL && scope->kind == PERI_SCOPE_TIMED &&
        task->grace == NULL)
        peri_scope_bound(peri_container_of(scope, struct peri_timed_scope, opened.scope));
    task->scope = scope;
    task->unwinding = false;
}

void peri_task_leave(struct peri_scope *scope)
{
    struct peri_task *task = scope->task;
    if (task != NULL) {
        struct peri_scope *parent = scope->parent;
        if (task->scope == scope)
            task->scope = parent;
        if (task->grace != NULL && task->grace->scope == scope)
            task->grace->scope = parent;
        if (task->scope->seen == NULL) {
            end_grace(task);
            task->told = task->overstayed = task->ends = 0;
            task->killed = false; /* that was the end of the scope, not of what is around it */
            peri_slice_spare_no_more();
        }
    }
    scope->task = NULL;
    peri_scope_close(scope);
}

/* --- ops ---------------------------------------------------------------------------------------
 */

struct peri_task *peri_task_check_waits(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    if (task == NULL)
        luaL_error(L, "cannot wait here: no task is running (handlers may wait, a loading app may "
                      "not)");
    if (task->all->loop == NULL)
        luaL_error(L, "cannot wait here: the app loads; wait in app:on_start()");
    if (!lua_isyieldable(L) || task->all->unyieldable > 0)
        luaL_error(L, "cannot wait here: a C function that cannot be left is running (such as "
                      "tostring, load or require with a callback); wait before or after it");
    return task;
}

struct peri_task *peri_task_check(lua_State *L)
{
    struct peri_task *task = peri_task_check_waits(L);
    if (task->killed || (task->scope->seen != NULL && !may_clean_up(L, task)))
        peri_task_raise_cancelled(L, task);
    return task;
}

static void *op_push(lua_State *L, struct peri_task *task, size_t size)
{
    bool foreign = L != task->L; /* a coroutine of the app: its op keeps it */
    struct peri_op *op = lua_newuserdatauv(L, size, foreign);
    memset(op, 0, size);
    op->task = task;
    if (foreign) {
        lua_pushthread(L);
        lua_setiuservalue(L, -2, 1);
        anchor(L, task);
    }
    return op;
}

void *peri_op_new(lua_State *L, size_t size)
{
    return op_push(L, peri_task_check(L), size);
}

void *peri_op_new_deaf(lua_State *L, size_t size)
{
    struct peri_op *op = op_push(L, peri_task_check_waits(L), size);
    op->deaf = true;
    return op;
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
    struct peri_op *op = (struct peri_op *) context;
    struct peri_task *task = op->task;
    (void) status;
    if (!op->done) { /* somebody else resumed this coroutine: wait on */
        task->op = op;
        lua_pushlightuserdata(L, (void *) peri_task_wait);
        return lua_yieldk(L, 1, context, go_on);
    }
    task->op = NULL;
    if (task->anchored)
        release_anchor(L, task);
    if (op->interrupted || (task->killed && !op->deaf))
        return peri_task_raise_cancelled(L, task);
    return op->finish != NULL ? op->finish(L, op) : 0;
}

int peri_op_await(lua_State *L, struct peri_op *op)
{
    return go_on(L, LUA_OK, (lua_KContext) op);
}

void peri_op_done(struct peri_op *op)
{
    struct peri_task *task = op->task;
    op->done = true;
    if (task->op == op && task->all->current != task)
        make_ready(task);
}

static void on_awake(struct peri_timer *timer)
{
    peri_op_done(&peri_container_of(timer, struct peri_nap, timer)->op);
}

static void nap_cancel(struct peri_op *op)
{
    struct peri_nap *nap = peri_container_of(op, struct peri_nap, op);
    peri_timer_stop(timers_of(op->task->all), &nap->timer);
    peri_op_done(op);
}

int peri_task_sleep(lua_State *L, uint64_t due)
{
    struct peri_task *task = peri_task_check(L);
    task->nap.op = (struct peri_op){.task = task, .cancel = nap_cancel};
    peri_timer_start(timers_of(task->all), &task->nap.timer, due);
    return peri_op_await(L, &task->nap.op);
}

static int cancelled_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushliteral(L, "cancelled: ");
    lua_getfield(L, 1, "reason");
    lua_concat(L, 2);
    return 1;
}

void peri_task_push_cancelled(lua_State *L, struct peri_task *task)
{
    if (task->told < MAX_TOLD)
        task->told++;
    else
        task->killed = true;
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "ECANCELED");
    lua_setfield(L, -2, "code");
    task->unwinding = true;
    const char *reason = task->scope->seen;
    lua_pushstring(L, reason != NULL ? reason : "the wait was interrupted");
    lua_setfield(L, -2, "reason");
    luaL_setmetatable(L, CANCELLED_TYPE);
}

int peri_task_raise_cancelled(lua_State *L, struct peri_task *task)
{
    peri_task_push_cancelled(L, task);
    if (task->killed)
        peri_slice_spare(L);
    return lua_error(L);
}

bool peri_task_may_catch(lua_State *L)
{
    struct peri_tasks *tasks = &peri_vm_of(L)->tasks;
    struct peri_task *task = tasks->current;
    if (tasks->finalizers.state != PERI_FINALIZER_NONE)
        return tasks->finalizers.state != PERI_FINALIZER_STOPPED;
    return task == NULL || !task->killed;
}

int peri_task_queue(lua_State *L, lua_KFunction continuation, lua_KContext context)
{
    peri_task_current(L)->slow = true;
    return lua_yieldk(L, 0, context, continuation);
}

bool peri_is_cancelled(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, CANCELLED_TYPE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

void peri_task_open_types(lua_State *L)
{
    luaL_newmetatable(L, CANCELLED_TYPE);
    lua_pushcfunction(L, cancelled_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
}
