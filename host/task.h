/* A task is one coroutine the host runs. It goes on until it finishes, awaits an op or has used up
 * its slice (slice.h); the op's callback calls peri_op_done() exactly once, on the task's own loop
 * thread.
 *
 * How control flows: peri_task_start() resumes a pooled coroutine with a C function, the task's
 * body. Where the body (or Lua called by it) awaits, the coroutine yields to the scheduler and the
 * task is parked. A libuv callback records what happened in the op and calls peri_op_done(), which
 * only puts the task on the ready list; the scheduler resumes it between callbacks, and the op's
 * `finish` makes the Lua values inside the coroutine, where raising is safe. lua_resume is called
 * in task.c only.
 *
 * Cancellation is level-triggered (scope.h): a cancelled scope hurries the ops of the tasks in it;
 * their waits then raise `cancelled`, and so does every later wait until the scope has been left.
 * An op that is done already keeps its result. What cleans up may wait in spite of it: `<close>`
 * variables, while an error unwinds the stack or a block is left, have PERI_CLEANUP_MS for all
 * their waits together. peri_protect_*() in protect.h tells unwinding from going on.
 * A task that computes is raised where it is. One that catches its cancellation and goes on is
 * ended for good, by an error that no pcall of the app catches.
 *
 * A task has a deadline when its work has one. It costs a timer only once the task waits.
 *
 * Everything here belongs to one loop thread. */
#ifndef PERI_TASK_H
#define PERI_TASK_H

#include "finalizer.h"
#include "list.h"
#include "scope.h"
#include "timer.h"
#include "worth.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define PERI_CLEANUP_MS 5000 /* what a cancelled scope may wait for in all, to clean up */

struct peri_op;
struct peri_place;
struct peri_task;
struct peri_tasks;
struct peri_grace;

/* What a task does, for whom: shared by all tasks of a kind, outlives them, belongs to the VM. */
struct peri_work {
    const char *name;    /* for the log, "/items/{item_id}" */
    const char *source;  /* where it was declared; may be NULL */
    uint64_t timeout_ms; /* 0: no deadline */
    void (*expired)(struct peri_task *task,
                    void *owner); /* the task was cancelled for it; may be NULL, does not run Lua */
    bool computes;                /* its tasks have held the loop: they start behind the others */
    struct peri_worth worth;      /* of what runs on workers for it, see hop.c */
};

/* The op a task waits for. First member of a larger struct made by peri_op_new(). */
struct peri_op {
    struct peri_task *task;                          /* set by peri_op_new() */
    int (*finish)(lua_State *L, struct peri_op *op); /* pushes results; may raise; may be NULL */
    void (*cancel)(struct peri_op *op);              /* hurries the callback along; may be NULL */
    bool done;
    bool interrupted; /* a cancellation came before it was done: the wait raises */
    bool deaf;        /* cancellation does not reach it */
};

/* A sleep: it is so frequent that it has its place in the task. */
struct peri_nap {
    struct peri_op op;
    struct peri_timer timer;
};

/* No larger than it must be: there may be 100,000 that sleep. */
struct peri_task {
    lua_State *L;           /* its coroutine; kept alive by the pool's registry entry */
    struct peri_tasks *all; /* the scheduler it belongs to */
    struct peri_list link;  /* on the ready, the parked or the free list */
    struct peri_op *op;     /* what it waits for; NULL while it runs or is ready */
    void (*ended)(struct peri_task *task, void *owner, bool failed); /* see peri_task_start() */
    void *owner;
    struct peri_scope root;
    struct peri_scope *scope; /* the innermost one; waits happen in it */
    struct peri_grace *grace; /* bounds the waits of its cleanup; NULL while there are none */
    struct peri_work *work;   /* NULL, or set by the body before anything else */
    struct peri_timer timer;  /* its deadline */
    struct peri_nap nap;
    uint64_t since;         /* uv_now() when it first waited; 0: it has not */
    uint64_t number;        /* its name for the operator (inspect.h); 0 until somebody asks */
    lua_State *interrupted; /* the coroutine whose slice was too long; NULL when it waits or runs */
    int ref;
    uint8_t told;       /* how often it was told that it is cancelled */
    uint8_t overstayed; /* slices that it used up since */
    uint8_t ends;       /* how often the error was raised that ends it for good */
    bool anchored : 1;  /* the registry keeps its op, under the address of the task */
    bool unwinding : 1; /* an error is on its way to the next protected call */
    bool has_locals : 1;
    bool slow : 1;     /* has held the loop: it gets short slices, behind the others */
    bool computed : 1; /* used up a slice */
    bool killed : 1;   /* ended for good */
    bool starved : 1;  /* has met the memory limit of its VM */
    bool guest : 1;    /* a worker waits for it, or for the task that spawned it (trip.h) */
};

/* The scheduler of one VM. */
struct peri_tasks {
    lua_State *L; /* the VM's main state */
    uv_loop_t *loop;
    struct peri_task *current;
    struct peri_list ready;
    struct peri_list slow; /* ready, but they compute */
    struct peri_list parked;
    struct peri_list free;
    unsigned free_count;
    unsigned alive;
    unsigned depth; /* tasks that run inside of each other's start */
    unsigned cleanup_ms;
    uint64_t ends_at;  /* on the timers' clock: cancelled tasks may not compute beyond; 0: never */
    bool keeps_frames; /* of an error that is on its way: protect.h */
    /* Called in a slice that is too long, by a hook of the coroutine: whether it is to end. NULL:
     * yes. */
    bool (*overrun)(struct peri_tasks *tasks);
    void (*drained)(struct peri_tasks *tasks); /* called when the last one has ended; may be NULL */
    unsigned unyieldable;   /* running coroutines of the app whose resumer cannot yield */
    uint64_t resumes;       /* counts lua_resume calls: proves what never entered Lua */
    uint64_t overruns;      /* counts slices of more than 10 ms */
    unsigned events;        /* counts what has happened in the loop but for slow tasks */
    unsigned events_last;   /* ... when the last slow slice ended */
    unsigned events_before; /* ... and the one before it */
    uint64_t rest_until;    /* uv_hrtime(): slow tasks leave the loop to the others until then */
    struct peri_timer rest;
    struct peri_timer last_call;
    uint64_t collect_after;    /* uv_hrtime(): no collection at the end of a task before */
    struct peri_place *places; /* that were logged, see slice.c */
    unsigned place_count;
    unsigned noted_slice;
    unsigned held_slice; /* the one in which the loop is held where Lua cannot be left, */
    uint64_t held_since; /* and since when, in ms */
    unsigned slow_ticks; /* of the watchdog, when the slow slice began */
    struct peri_finalizers finalizers;
    bool interrupted; /* the yield under way is a hook's */
    bool traces;      /* log overruns with their traceback */
    bool quiet;       /* do not log them */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* keeps the loop from blocking while tasks are ready */
};

/* `loop` may be NULL: no task can wait until peri_tasks_attach(). */
void peri_tasks_open(struct peri_tasks *tasks, lua_State *L, uv_loop_t *loop);
void peri_tasks_attach(struct peri_tasks *tasks, uv_loop_t *loop);

/* Closes the handles; every task must have ended. The struct belongs to the loop until they closed.
 */
void peri_tasks_close(struct peri_tasks *tasks);

/* Starts a task that runs `body` with the light userdata `owner` as its only argument, at once and
 * until its first wait. `ended` is called exactly once, outside of Lua, when the body has returned
 * or raised (`failed`, with the error on top of task->L's stack); it may be called before this
 * returns, and the task is invalid after it. Returns NULL when it has ended already. `body` should
 * not raise: it handles the errors of the app itself, because an error that leaves a coroutine does
 * not run the
 * `<close>` variables above it. */
struct peri_task *peri_task_start(struct peri_tasks *tasks, lua_CFunction body, void *owner,
                                  void (*ended)(struct peri_task *task, void *owner, bool failed));

/* The same, but it runs at the next turn of the loop: may be called while Lua runs. NULL when
 * memory is short. */
struct peri_task *peri_task_post(struct peri_tasks *tasks, lua_CFunction body, void *owner,
                                 void (*ended)(struct peri_task *task, void *owner, bool failed));

/* Makes a task whose root scope hangs below `parent`, for peri_task_run(): the caller pushes a
 * function and its arguments on task->L. NULL when memory is short. */
struct peri_task *peri_task_new(struct peri_tasks *tasks, struct peri_scope *parent);

/* Runs what is on the stack of a new task until its first wait; see peri_task_start() for `owner`,
 * `ended` and the result. A task that is started inside of too many others starts at the next turn
 * of the loop. */
struct peri_task *peri_task_run(struct peri_task *task, void *owner,
                                void (*ended)(struct peri_task *task, void *owner, bool failed));

/* Takes back a new task that was not run. */
void peri_task_drop(struct peri_task *task);

/* Asks the task to end: cancels its root scope with this reason (static text). Does not run Lua. */
void peri_task_cancel(struct peri_task *task, const char *reason);

/* Hurries the op of a task in a scope that was cancelled; for scope.c. */
void peri_task_interrupt(struct peri_task *task);

/* Opens a scope in the running task; it has its kind and its `shield`. */
void peri_task_enter(lua_State *L, struct peri_task *task, struct peri_opened_scope *opened);

/* Closes it; more than once is harmless. */
void peri_task_leave(struct peri_scope *scope);

/* Why the running code of the task is to end; NULL while it may go on. Static text. */
static inline const char *peri_task_cancelled(const struct peri_task *task)
{
    return task->scope->seen;
}

/* Raises where a wait would raise: no task is running, or the C function cannot be left, or the
 * task is cancelled and does not clean up. Returns the task. */
struct peri_task *peri_task_check(lua_State *L);

/* The same, but for cancellation. */
struct peri_task *peri_task_check_waits(lua_State *L);

/* For `ended` of a task that failed: the text of its error. */
const char *peri_task_error(const struct peri_task *task);

/* Gives a task a deadline of its own (uv_now() time), in place of its work's. */
void peri_task_set_deadline(struct peri_task *task, uint64_t due);

/* `return peri_task_queue(L, continuation, context);`: lets the others run first, as a task does
 * that is going to compute. */
int peri_task_queue(lua_State *L, lua_KFunction continuation, lua_KContext context);

/* Whether the task, in its coroutine L, must be stopped where it computes. */
bool peri_task_must_end(lua_State *L, const struct peri_task *task);

/* Called when a task has used up a slice: its deadline may have passed, also where the loop's
 * timers do not run; and one that was cancelled has not for ever. */
void peri_task_used_slice(struct peri_task *task);

/* Called when a task that computes goes on: beyond the end of all cleaning up not for a slice more,
 * because each may take long where the machine has other things to do. */
void peri_task_begin_slice(struct peri_task *task);

/* Called with an error on top of the stack that is about to be caught. Returns false when it must
 * be passed on, because the task is being ended for good. */
bool peri_task_may_catch(lua_State *L);

/* Asks every task to end. */
void peri_tasks_cancel(struct peri_tasks *tasks, const char *reason);

/* From now on whatever cleans up may wait for so long, also where it has begun, and what has been
 * cancelled may compute for so long. */
void peri_tasks_bound_cleanup(struct peri_tasks *tasks, unsigned ms);

/* At this time (of the timers' clock) what has been cancelled is forced to end, shields or not. Of
 * several times the first one counts. */
void peri_tasks_end_by(struct peri_tasks *tasks, uint64_t due);

/* The running task; NULL outside of tasks. */
struct peri_task *peri_task_current(lua_State *L);

/* As a light userdata, the only result of a yield that is meant for the scheduler. */
extern const char peri_task_wait[];

/* Makes an op on the stack of the running coroutine. Raises outside a task and when the task is
 * cancelled. `size` includes the struct peri_op that comes first; the memory is zeroed. */
void *peri_op_new(lua_State *L, size_t size);

/* The same for what must be waited for to its end: cancellation neither prevents nor ends it. */
void *peri_op_new_deaf(lua_State *L, size_t size);

/* Parks the task: `return peri_op_await(L, op);`. An op that is already done goes on at once. */
int peri_op_await(lua_State *L, struct peri_op *op);

/* `return peri_task_sleep(L, due);`: waits until the timers' clock shows `due`. Raises outside a
 * task and when the task is cancelled. */
int peri_task_sleep(lua_State *L, uint64_t due);

/* Records that what the op waited for has happened. Never runs Lua. */
void peri_op_done(struct peri_op *op);

/* Raises the `cancelled` error of a task. */
int peri_task_raise_cancelled(lua_State *L, struct peri_task *task);

/* The same error on top of the stack, for who raises it in a way of their own. */
void peri_task_push_cancelled(lua_State *L, struct peri_task *task);

/* Whether the error at `index` is the `cancelled` error. */
bool peri_is_cancelled(lua_State *L, int index);

/* Registers the type of the `cancelled` error. */
void peri_task_open_types(lua_State *L);

#endif
