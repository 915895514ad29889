#include "slice.h"

#include "log.h"
#include "protect.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_AGAIN                                                                                 \
    10000 /* instructions until a coroutine that cannot be left is looked at again                 \
           */
#define CALLER_FRAMES 1000 /* that are looked at for a Lua function */
#define LONG_TICKS 3       /* a slice that has seen as many is over 10 ms */
#define SURE_TICKS 64      /* until a hook that has not run is set again */
#define MANY_ENDS 10       /* of a task that should have ended at the first one */
#define MAX_PLACES 256     /* that are logged, then silence */
#define SPARED_TICKS 100   /* that what cleans up may fill memory for */
#define MAX_HELD_MS 2000   /* before the supervisor takes the server for stuck */

/* A function that has held the loop, on behalf of one kind of work. */
struct peri_place {
    const struct peri_work *work;
    char source[LUA_IDSIZE];
    int line;
};

_Thread_local lua_State *volatile peri_slice_hooked;

/* In the slice in which an error ends a task for good, whatever that error runs into has LOOK_AGAIN
 * instructions, however many ticks come meanwhile; only C functions that take long are ended by a
 * tick. */
static _Thread_local volatile unsigned spared_slice;
static _Thread_local unsigned spared_since; /* the ticks when it was first */
_Thread_local volatile bool peri_slice_over;

/* The hook that was there before: of a debugger, or of whoever counts lines. While ours is set it
 * still hears of everything but instructions. */
static _Thread_local struct {
    lua_Hook hook;
    int mask;
    int count;
} theirs;

static void on_count(lua_State *L, lua_Debug *frame);

/* Also called in a signal handler. */
static void arm(lua_State *L, int count)
{
    if (lua_gethook(L) != on_count) {
        theirs.hook = lua_gethook(L);
        theirs.mask = lua_gethookmask(L);
        theirs.count = lua_gethookcount(L);
    }
    peri_slice_hooked = L;
    peri_slice_over = count == 1;
    lua_sethook(L, on_count, LUA_MASKCOUNT | (theirs.mask & ~LUA_MASKCOUNT), count);
}

void peri_slice_disarm(void)
{
    lua_State *L = peri_slice_hooked;
    peri_slice_hooked = NULL;
    peri_slice_over = false;
    if (lua_gethook(L) == on_count)
        lua_sethook(L, theirs.hook, theirs.mask, theirs.count);
}

static bool is_spared(void)
{
    return spared_slice == peri_watchdog.slices;
}

/* In a signal handler. Setting a hook marks every frame of the stack: where there are many
 * thousands that takes longer than the time between two ticks, so it is done again only rarely, for
 * the case that a mark was lost. */
void peri_slice_overran(void *runner)
{
    lua_State *L = runner;
    int count = is_spared() ? LOOK_AGAIN : 1;
    bool armed =
        peri_slice_hooked == L && lua_gethook(L) == on_count && lua_gethookcount(L) <= count;
    if (!armed || peri_watchdog.ticks % SURE_TICKS == 0)
        arm(L, count);
    peri_slice_over = true;
}

/* An error raised in a hook leaves hooks off until it is caught, and in a dead coroutine nobody has
 * caught it: nothing would end its `<close>` variables. Lua has no function for that. All of 5.4
 * keeps it here, behind the header of the collector. */
static void allow_hooks(lua_State *co)
{
    struct {
        void *next;
        unsigned char type;
        unsigned char marked;
        unsigned char status;
        unsigned char allows_hooks;
    } *state = (void *) co;
    _Static_assert(LUA_VERSION_NUM == 504, "look at struct lua_State");
    state->allows_hooks = 1;
}

int peri_slice_reset(lua_State *co)
{
    allow_hooks(co);
    return lua_resetthread(co);
}

void peri_slice_look_soon(lua_State *co)
{
    arm(co, LOOK_AGAIN);
}

void peri_slice_prepare(struct peri_task *task)
{
    if (peri_watchdog.runner == NULL)
        peri_watchdog_be_brief();
    task->all->slow_ticks = peri_watchdog.ticks;
    lua_State *L = task->interrupted;
    task->interrupted = NULL;
    peri_task_begin_slice(task);
    if (L != NULL && peri_task_must_end(L, task))
        arm(L, 1);
}

/* Whether this is the first time that the function at `frame` holds the loop for this work. */
static bool is_new_place(struct peri_tasks *tasks, const struct peri_work *work, lua_Debug *frame)
{
    for (unsigned i = 0; i < tasks->place_count; i++) {
        const struct peri_place *place = &tasks->places[i];
        if (place->work == work && place->line == frame->linedefined &&
            strcmp(place->source, frame->short_src) == 0)
            return false;
    }
    if (tasks->places == NULL)
        tasks->places = calloc(MAX_PLACES, sizeof(*tasks->places));
    if (tasks->places == NULL || tasks->place_count == MAX_PLACES)
        return false;
    struct peri_place *place = &tasks->places[tasks->place_count++];
    place->work = work;
    place->line = frame->linedefined;
    memcpy(place->source, frame->short_src, sizeof(place->source));
    return true;
}

void peri_slice_forget(struct peri_tasks *tasks)
{
    free(tasks->places);
    tasks->places = NULL;
    tasks->place_count = 0;
}

/* What computes on a worker is interrupted only because nobody waits for it any more. */
static void report_stopped(const lua_Debug *frame)
{
    peri_log_warn("a threaded function was stopped at %s:%d: nobody waits for its result any more",
                  frame->short_src, frame->currentline);
}

/* May raise: the traceback is a Lua string. */
static void report(lua_State *L, const struct peri_task *task, lua_Debug *frame)
{
    struct peri_tasks *tasks = task->all;
    const struct peri_work *work = task->work;
    lua_getinfo(L, "Sl", frame);
    if (!is_new_place(tasks, work, frame))
        return;
    if (peri_vm_of(L)->worker != NULL) {
        report_stopped(frame);
        return;
    }
    const char *name = work != NULL && work->name != NULL ? work->name : "a task";
    const char *source = work != NULL ? work->source : NULL;
    const char *stack = "";
    if (tasks->traces && lua_checkstack(L, LUA_MINSTACK)) {
        luaL_traceback(L, L, "\n", 0);
        stack = lua_tostring(L, -1);
    }
    peri_log_warn("%s%s%s%s held its loop for 10 ms at %s:%d; it goes on in slices of 1 ms. What "
                  "computes for long belongs in perigee.threaded%s",
                  name, source != NULL ? " (" : "", source != NULL ? source : "",
                  source != NULL ? ")" : "", frame->short_src, frame->currentline, stack);
    if (*stack != '\0')
        lua_pop(L, 1);
}

static void note(lua_State *L, struct peri_task *task, lua_Debug *frame)
{
    struct peri_tasks *tasks = task->all;
    task->slow = true;
    task->computed = true;
    if (tasks->noted_slice == peri_watchdog.slices ||
        (peri_watchdog.brief && peri_watchdog.ticks - tasks->slow_ticks < LONG_TICKS))
        return;
    tasks->noted_slice = peri_watchdog.slices;
    tasks->overruns++;
    if (task->work != NULL)
        task->work->computes = true;
    if (!tasks->quiet)
        report(L, task, frame);
}

/* A finalizer runs on somebody else's time, and the collector cannot be left: it is not let go on.
 */
static void stop_finalizer(lua_State *L, struct peri_tasks *tasks)
{
    arm(L, LOOK_AGAIN);
    if (!peri_finalizer_must_stop(&tasks->finalizers))
        return;
    peri_protect_mute(L, 0);
    luaL_error(L, "it ran for more than 10 ms");
}

/* Where Lua cannot be left, a loop that serves is held for so long and no longer. */
static void end_what_holds_the_loop(lua_State *L, struct peri_tasks *tasks)
{
    const struct peri_vm *vm = peri_vm_of(L);
    arm(L, LOOK_AGAIN);
    if (vm->worker != NULL || vm->life.generation == NULL)
        return; /* a worker has its deadline, a script disturbs nobody */
    uint64_t now = uv_hrtime() / 1000000;
    if (tasks->held_slice != peri_watchdog.slices) {
        tasks->held_slice = peri_watchdog.slices;
        tasks->held_since = now;
    } else if (now - tasks->held_since > MAX_HELD_MS) {
        peri_protect_mute(L, 0);
        luaL_error(L, "it held its loop for %d s where it cannot be interrupted (docs/time.md)",
                   MAX_HELD_MS / 1000);
    }
}

/* An error that ends a task for good is caught by C functions that protect calls of their own, such
 * as load(), and an app may call them for ever. Only the instruction behind such a call is out of
 * their reach; every other error leaves time for what it runs into. */
static bool is_caught_each_time(const struct peri_task *task)
{
    return task->ends >= MANY_ENDS && task->ends % 2 == 0;
}

void peri_slice_spare(lua_State *L)
{
    if (!is_spared()) {
        spared_slice = peri_watchdog.slices;
        spared_since = peri_watchdog.ticks;
    }
    if (peri_slice_hooked == L)
        arm(L, LOOK_AGAIN);
}

void peri_slice_spare_no_more(void)
{
    spared_slice = peri_watchdog.slices - 1;
}

bool peri_slice_is_spared(void)
{
    return is_spared() && peri_watchdog.ticks - spared_since < SPARED_TICKS;
}

/* The slice of the running coroutine is over, at `frame` or in a C function called there. Returns
 * whether it is to yield; raises where it must end. */
static bool end_slice(lua_State *L, lua_Debug *frame, bool in_c)
{
    peri_slice_disarm();
    struct peri_tasks *tasks = &peri_vm_of(L)->tasks;
    struct peri_task *task = tasks->current;
    if (peri_watchdog.runner != L)
        return false;
    if (tasks->finalizers.state != PERI_FINALIZER_NONE) { /* also of a VM that closes */
        stop_finalizer(L, tasks);
        return false;
    }
    if (task == NULL)
        return false;
    if (tasks->overrun != NULL && !tasks->overrun(tasks))
        return false; /* somebody wanted to see where it is */
    bool caught = task->killed && (in_c || is_caught_each_time(task));
    peri_task_used_slice(task);
    if (peri_task_must_end(L, task)) {
        peri_protect_mute(L, 0);
        task->ends += task->killed; /* wraps: then it is spared for some time again */
        arm(L, 1);                  /* the slice's end takes it back */
        if (!caught)
            peri_slice_spare(L);
        peri_task_push_cancelled(L, task);
        lua_error(L);
    }
    note(L, task, frame);
    if (!lua_isyieldable(L) || tasks->unyieldable > 0) {
        end_what_holds_the_loop(L, tasks);
        return false;
    }
    task->interrupted = L;
    tasks->interrupted = true;
    return true;
}

/* Runs between two instructions of a coroutine whose slice was too long. */
static void on_count(lua_State *L, lua_Debug *frame)
{
    if (frame->event != LUA_HOOKCOUNT) {
        if (theirs.hook != NULL)
            theirs.hook(L, frame);
    } else if (peri_slice_hooked != L) { /* inherited by a new coroutine, or left from a slice */
        lua_sethook(L, theirs.hook, theirs.mask, theirs.count);
    } else if (end_slice(L, frame, false)) {
        lua_yield(L, 0);
    }
}

bool peri_slice_must_yield(lua_State *L)
{
    lua_Debug frame;
    int level = 0;
    while (lua_getstack(L, level, &frame)) { /* the Lua function that has called us */
        lua_getinfo(L, "l", &frame);
        if (frame.currentline >= 0 || ++level == CALLER_FRAMES)
            break;
    }
    return end_slice(L, &frame, true);
}

int peri_slice_yield(lua_State *L, lua_KContext context, lua_KFunction continuation)
{
    return lua_yieldk(L, 0, context, continuation);
}
