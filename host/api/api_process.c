/* perigee.host.process: child processes. `start` gives the streams to the script; `run` feeds and
 * reads them itself and waits for the end of all three. */
#include "api.h"

#include "api_stream.h"
#include "child.h"
#include "vm.h"

#include <lauxlib.h>
#include <math.h>
#include <signal.h>
#include <string.h>

static const char CHILD_TYPE[] = "perigee.ChildHandle";
static const char RUN_TYPE[] = "perigee.run_op";

/* --- options -----------------------------------------------------------------------------------
 */

/* Arguments of start() and run(): args, env, cwd, and what becomes of the standard streams. */
enum { ARGS = 1, ENV, CWD, IN, OUT, ERR, COMMON = ERR };

static const char *const STDIO_NAMES[] = {"discard", "pipe", "inherit", "output", NULL};

/* Makes a NULL-terminated array of the strings in the table at `index`, which keeps them. Leaves it
 * on the stack. */
static char **push_strings(lua_State *L, int index)
{
    luaL_checktype(L, index, LUA_TTABLE);
    size_t count = lua_rawlen(L, index);
    char **strings = lua_newuserdatauv(L, (count + 1) * sizeof(*strings), 0);
    for (size_t i = 0; i < count; i++) {
        size_t len = 0;
        if (lua_rawgeti(L, index, (lua_Integer) i + 1) != LUA_TSTRING)
            luaL_error(L, "argument %d of the process must be a string", (int) i + 1);
        strings[i] = (char *) lua_tolstring(L, -1, &len);
        if (strlen(strings[i]) != len)
            luaL_error(L, "argument %d of the process must be text without NUL", (int) i + 1);
        lua_pop(L, 1);
    }
    strings[count] = NULL;
    return strings;
}

static struct peri_child_options check_options(lua_State *L)
{
    struct peri_child_options options = {.cwd = luaL_optstring(L, CWD, NULL)};
    options.in = (enum peri_child_stdio) luaL_checkoption(L, IN, NULL, STDIO_NAMES);
    options.out = (enum peri_child_stdio) luaL_checkoption(L, OUT, NULL, STDIO_NAMES);
    options.err = (enum peri_child_stdio) luaL_checkoption(L, ERR, NULL, STDIO_NAMES);
    options.args = push_strings(L, ARGS);
    if (!lua_isnoneornil(L, ENV))
        options.env = push_strings(L, ENV);
    return options;
}

static int push_start_failure(lua_State *L, int rc)
{
    lua_rawgeti(L, ARGS, 1);
    return peri_push_failure(L, rc, lua_pushfstring(L, "start %s", lua_tostring(L, -1)));
}

/* Pushes {code =} or {signal =} and fills in the rest of a result. */
static void push_end(lua_State *L, int64_t code, int signal)
{
    lua_createtable(L, 0, 4);
    lua_pushboolean(L, code == 0 && signal == 0);
    lua_setfield(L, -2, "ok");
    if (signal == 0) {
        lua_pushinteger(L, code);
        lua_setfield(L, -2, "code");
    } else {
        lua_pushinteger(L, signal);
        lua_setfield(L, -2, "signal");
    }
}

/* --- a child in the hands of a script ----------------------------------------------------------
 */

struct child_box {
    struct peri_child *child; /* NULL once closed */
    struct peri_list waiting; /* wait_op */
};

struct wait_op {
    struct peri_op op;
    struct peri_list link;
    struct child_box *box; /* held by the coroutine's stack */
    struct peri_timer timer;
    struct peri_timers *timers;
    int status;
};

static struct child_box *check_box(lua_State *L)
{
    return luaL_checkudata(L, 1, CHILD_TYPE);
}

static struct child_box *check_open(lua_State *L)
{
    struct child_box *box = check_box(L);
    if (box->child == NULL)
        luaL_error(L, "the process was closed");
    return box;
}

static void end_wait(struct wait_op *wait, int status)
{
    peri_list_remove(&wait->link);
    peri_timer_stop(wait->timers, &wait->timer);
    wait->status = status;
    peri_op_done(&wait->op);
}

static void wake_all(struct child_box *box, int status)
{
    struct peri_list *link;
    while ((link = peri_list_first(&box->waiting)) != NULL)
        end_wait(peri_container_of(link, struct wait_op, link), status);
}

static void on_child_ended(struct peri_child *child, void *owner)
{
    (void) child;
    wake_all(owner, 0);
}

static void on_wait_timeout(struct peri_timer *timer)
{
    end_wait(peri_container_of(timer, struct wait_op, timer), UV_ETIMEDOUT);
}

static void wait_cancel(struct peri_op *op)
{
    end_wait(peri_container_of(op, struct wait_op, op), UV_ECANCELED);
}

static int wait_finish(lua_State *L, struct peri_op *op)
{
    struct wait_op *wait = peri_container_of(op, struct wait_op, op);
    if (wait->box->child == NULL)
        return peri_push_error_text(L, "ECLOSED", "the process was closed meanwhile");
    if (wait->status < 0)
        return peri_push_error(L, wait->status);
    push_end(L, wait->box->child->code, wait->box->child->signal);
    return 1;
}

/* child:wait(timeout_ms) */
static int child_wait(lua_State *L)
{
    struct child_box *box = check_open(L);
    lua_Number ms = luaL_optnumber(L, 2, 0);
    luaL_argcheck(L, ms >= 0 && ms < 1e12, 2, "milliseconds, 0 or more, expected");
    if (box->child->has_ended) {
        push_end(L, box->child->code, box->child->signal);
        return 1;
    }
    struct wait_op *wait = peri_op_new(L, sizeof(*wait));
    struct peri_vm *vm = peri_vm_of(L);
    wait->op.finish = wait_finish;
    wait->op.cancel = wait_cancel;
    wait->box = box;
    wait->timers = vm->timers;
    wait->timer.fire = on_wait_timeout;
    peri_list_append(&box->waiting, &wait->link);
    uv_update_time(vm->tasks.loop);
    if (ms > 0)
        peri_timer_start(vm->timers, &wait->timer, uv_now(vm->tasks.loop) + (uint64_t) ceil(ms));
    return peri_op_await(L, &wait->op);
}

static int child_kill(lua_State *L)
{
    struct child_box *box = check_open(L);
    int rc = peri_child_kill(box->child, (int) luaL_checkinteger(L, 2));
    if (rc < 0)
        return peri_push_error(L, rc);
    lua_pushboolean(L, true);
    return 1;
}

/* Serves close(), __close and __gc, in any order and more than once. */
static int child_close(lua_State *L)
{
    struct child_box *box = check_box(L);
    struct peri_child *child = box->child;
    box->child = NULL;
    if (child == NULL)
        return 0;
    wake_all(box, UV_ECANCELED);
    peri_child_close(child);
    return 0;
}

static const luaL_Reg child_methods[] = {
    {"close", child_close},
    {"kill", child_kill},
    {"wait", child_wait},
    {NULL, NULL},
};

static const luaL_Reg child_metamethods[] = {
    {"__close", child_close},
    {"__gc", child_close},
    {NULL, NULL},
};

static struct child_box *push_child(lua_State *L)
{
    struct child_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    box->child = NULL;
    peri_list_init(&box->waiting);
    if (luaL_newmetatable(L, CHILD_TYPE)) {
        luaL_setfuncs(L, child_metamethods, 0);
        luaL_newlib(L, child_methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return box;
}

/* start(args, env, cwd, in, out, err): the child, its number and its streams, each nil where there
 * is none; or nil and an error. */
static int process_start(lua_State *L)
{
    lua_settop(L, COMMON);
    struct peri_child_options options = check_options(L);
    struct peri_vm *vm = peri_vm_of(L);
    struct child_box *box = push_child(L);
    lua_pushnil(L); /* the number comes here */
    int first = lua_gettop(L);
    struct peri_stream_box *boxes[3];
    for (int i = 0; i < 3; i++)
        boxes[i] = peri_stream_box_push(L);
    struct peri_stream *streams[3];
    int rc = peri_child_start(vm->tasks.loop, vm->timers, &options, &box->child, streams);
    if (rc < 0)
        return push_start_failure(L, rc);
    box->child->ended = on_child_ended;
    box->child->owner = box;
    lua_pushinteger(L, box->child->pid);
    lua_replace(L, first);
    for (int i = 0; i < 3; i++) {
        boxes[i]->stream = streams[i];
        if (streams[i] != NULL)
            continue;
        lua_pushnil(L);
        lua_replace(L, first + 1 + i);
    }
    return 5;
}

/* --- a child from start to end -----------------------------------------------------------------
 */

/* One stream that is read to its end. */
struct drain {
    struct peri_stream_wait wait;
    struct run_op *run;
    struct peri_stream *stream; /* NULL when there is none */
    bool over;
};

struct run_op {
    struct peri_op op;
    struct peri_child *child;
    struct peri_stream *in;
    struct drain drains[2]; /* output, errors */
    struct peri_timer timer;
    struct peri_timers *timers;
    size_t max;
    int status; /* why it was ended before its time */
};

static void close_run(struct run_op *run)
{
    if (run->in != NULL)
        peri_stream_close(run->in);
    run->in = NULL;
    for (int i = 0; i < 2; i++) {
        if (run->drains[i].stream != NULL)
            peri_stream_close(run->drains[i].stream);
        run->drains[i].stream = NULL;
    }
    if (run->child != NULL)
        peri_child_close(run->child);
    run->child = NULL;
}

static int run_gc(lua_State *L)
{
    close_run(luaL_checkudata(L, 1, RUN_TYPE));
    return 0;
}

static void settle(struct run_op *run)
{
    if (run->op.done || !run->child->has_ended || !run->drains[0].over || !run->drains[1].over)
        return;
    peri_timer_stop(run->timers, &run->timer);
    if (run->op.interrupted)
        close_run(run);
    peri_op_done(&run->op);
}

/* Ends the child; the op is done when that has happened. */
static void abort_run(struct run_op *run, int status)
{
    if (run->status == 0)
        run->status = status;
    peri_timer_stop(run->timers, &run->timer);
    peri_child_kill(run->child, SIGKILL);
    for (int i = 0; i < 2; i++) {
        peri_stream_leave(&run->drains[i].wait); /* what the child left behind may keep it open */
        run->drains[i].over = true;
    }
    settle(run);
}

static bool is_too_much(struct peri_stream_wait *wait, const char *bytes, size_t len)
{
    (void) bytes;
    return len > peri_container_of(wait, struct drain, wait)->run->max;
}

static void on_drained(struct peri_stream_wait *wait, int status)
{
    struct drain *drain = peri_container_of(wait, struct drain, wait);
    drain->over = true;
    if (status == UV_EOF)
        settle(drain->run);
    else
        abort_run(drain->run, status == 0 ? UV_EMSGSIZE : status);
}

static void on_run_ended(struct peri_child *child, void *owner)
{
    (void) child;
    settle(owner);
}

static void on_run_timeout(struct peri_timer *timer)
{
    abort_run(peri_container_of(timer, struct run_op, timer), UV_ETIMEDOUT);
}

static void run_cancel(struct peri_op *op)
{
    abort_run(peri_container_of(op, struct run_op, op), UV_ECANCELED);
}

static void push_output(lua_State *L, struct drain *drain, const char *name)
{
    size_t len = 0;
    if (drain->stream == NULL)
        return;
    const char *bytes = peri_stream_bytes(drain->stream, &len);
    lua_pushlstring(L, bytes, len);
    lua_setfield(L, -2, name);
}

static int run_finish(lua_State *L, struct peri_op *op)
{
    struct run_op *run = peri_container_of(op, struct run_op, op);
    if (run->status < 0) {
        int status = run->status;
        close_run(run);
        lua_rawgeti(L, ARGS, 1);
        return peri_push_failure(L, status, lua_pushfstring(L, "run %s", lua_tostring(L, -1)));
    }
    push_end(L, run->child->code, run->child->signal);
    push_output(L, &run->drains[0], "stdout");
    push_output(L, &run->drains[1], "stderr");
    close_run(run);
    return 1;
}

static struct run_op *new_run(lua_State *L)
{
    struct run_op *run = peri_op_new(L, sizeof(*run));
    if (luaL_newmetatable(L, RUN_TYPE)) {
        lua_pushcfunction(L, run_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    run->op.finish = run_finish;
    run->op.cancel = run_cancel;
    run->timer.fire = on_run_timeout;
    for (int i = 0; i < 2; i++) {
        run->drains[i].run = run;
        run->drains[i].wait.wake = on_drained;
        run->drains[i].wait.enough = is_too_much;
    }
    return run;
}

/* run(args, env, cwd, in, out, err, input, max, timeout_ms): {ok =, code = | signal =, stdout =,
 * stderr =}; or nil and an error, and the child is gone. */
static int process_run(lua_State *L)
{
    struct peri_vm *vm = peri_vm_of(L);
    size_t input_len = 0;
    const char *input = luaL_optlstring(L, COMMON + 1, "", &input_len);
    lua_Integer max = luaL_checkinteger(L, COMMON + 2);
    lua_Number timeout_ms = luaL_optnumber(L, COMMON + 3, 0);
    struct peri_child_options options = check_options(L);
    struct run_op *run = new_run(L);
    struct peri_stream *streams[3];
    run->max = (size_t) max;
    run->timers = vm->timers;
    int rc = peri_child_start(vm->tasks.loop, vm->timers, &options, &run->child, streams);
    if (rc < 0)
        return push_start_failure(L, rc);
    run->child->ended = on_run_ended;
    run->child->owner = run;
    run->in = streams[0];
    if (run->in != NULL) { /* a child that does not read it all is its own affair */
        peri_stream_send(run->in, input, input_len);
        peri_stream_finish(run->in);
    }
    uv_update_time(vm->tasks.loop);
    if (timeout_ms > 0)
        peri_timer_start(vm->timers, &run->timer,
                         uv_now(vm->tasks.loop) + (uint64_t) ceil(timeout_ms));
    for (int i = 0; i < 2; i++) {
        run->drains[i].stream = streams[i + 1];
        run->drains[i].over = streams[i + 1] == NULL;
    }
    for (int i = 0; i < 2; i++) {
        if (!run->drains[i].over)
            peri_stream_await_bytes(run->drains[i].stream, &run->drains[i].wait, 0);
    }
    return peri_op_await(L, &run->op);
}

/* environment(): the program's own, by name */
static int process_environment(lua_State *L)
{
    uv_env_item_t *items = NULL;
    int count = 0;
    int rc = uv_os_environ(&items, &count);
    if (rc < 0)
        return luaL_error(L, "the environment cannot be read: %s", uv_strerror(rc));
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, items[i].value);
        lua_setfield(L, -2, items[i].name);
    }
    uv_os_free_environ(items, count);
    return 1;
}

static const struct {
    const char *name;
    int number;
} signals[] = {
    {"ABRT", SIGABRT}, {"CONT", SIGCONT}, {"HUP", SIGHUP},   {"INT", SIGINT},   {"KILL", SIGKILL},
    {"QUIT", SIGQUIT}, {"STOP", SIGSTOP}, {"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
};

static const luaL_Reg process_functions[] = {
    {"environment", process_environment},
    {"run", process_run},
    {"start", process_start},
    {NULL, NULL},
};

int peri_open_process(lua_State *L)
{
    luaL_newlib(L, process_functions);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        lua_pushinteger(L, signals[i].number);
        lua_setfield(L, -2, signals[i].name);
    }
    lua_setfield(L, -2, "signals");
    return 1;
}
