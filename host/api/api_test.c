/* perigee.host.test: an app served in the loop of a script, for tests that go through the real
 * connection, parser and exchange without a port. lua/perigee/test/ makes clients, clocks and
 * checks of it.
 *
 * connect() makes a pair of sockets: one end becomes a connection of the loop like any accepted
 * one, the other is a stream that Lua reads and writes. One app is served at a time.
 *
 * Everything here needs the loop that peri_test_offer() named; elsewhere (in a server) it raises.
 */
#include "api.h"

#include "../log.h"
#include "../loop.h"
#include "../server.h"
#include "../slice.h"
#include "../store.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAM_TYPE "perigee.test.Stream"
#define QUIET_TICKS 3 /* of a millisecond each, after which a frozen clock jumps */
#define READ_SIZE 65536

static const char LOOP_KEY[] = "perigee.test.loop";
static const char LINES_KEY[] = "perigee.test.lines";

void peri_test_offer(lua_State *L, struct peri_loop *loop)
{
    lua_pushlightuserdata(L, loop);
    lua_rawsetp(L, LUA_REGISTRYINDEX, LOOP_KEY);
}

static struct peri_loop *loop_of(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, LOOP_KEY);
    struct peri_loop *loop = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (loop == NULL)
        luaL_error(L, "perigee.test works in `perigee test`, `perigee repl` and scripts, not in a "
                      "server");
    return loop;
}

/* --- the app -----------------------------------------------------------------------------------
 */

/* open(built): from here on connections are served by this app, as app:build() made it. */
static int test_open(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (!peri_list_empty(&loop->conns))
        return luaL_error(L, "the app before has connections left");
    peri_app_release(L, &loop->vm->app);
    peri_app_read(L, &loop->vm->app, loop->config);
    return 0;
}

/* background(what): "start"s what the open app does beside its requests, tells it to "stop", or
 * "cancel"s it; "forget" makes the VM as it was before. Returns whether it still runs. */
static int test_background(lua_State *L)
{
    static const char *const names[] = {"start", "stop", "cancel", "forget", NULL};
    struct peri_vm *vm = loop_of(L)->vm;
    struct peri_background *background = &vm->background;
    switch (luaL_checkoption(L, 1, NULL, names)) {
    case 0:
        peri_background_start(vm);
        break;
    case 1:
        peri_background_stop(vm);
        break;
    case 2:
        if (background->task != NULL)
            peri_task_cancel(background->task, "the test has ended");
        break;
    default:
        peri_background_stop(vm);
        background->started = background->stopping = false;
        peri_store_clear(peri_store_of_host());
    }
    lua_pushboolean(L, background->task != NULL);
    return 1;
}

static void add_line(void *context, const char *text)
{
    lua_State *L = context;
    lua_pushstring(L, text);
    lua_rawseti(L, -2, (lua_Integer) lua_rawlen(L, -2) + 1);
}

/* shadowed(): a list of what the open app declares and no request reaches, with both places. */
static int test_shadowed(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    lua_newtable(L);
    if (loop->vm->app.router != NULL)
        peri_app_each_shadowed(&loop->vm->app, add_line, L);
    return 1;
}

/* --- streams -----------------------------------------------------------------------------------
 */

/* An op finds its stream through the box: closing empties that, and frees the stream. */
struct read_op {
    struct peri_op op;
    struct stream **box;
};

/* The client's end. The box in Lua owns it; the close callback frees it. */
struct stream {
    uv_pipe_t pipe;
    struct peri_buf in; /* read and not yet taken */
    struct read_op *reader;
    int status; /* why nothing more comes: UV_EOF, as a rule; 0 while it may */
};

static void wake_reader(struct stream *stream)
{
    struct read_op *reader = stream->reader;
    stream->reader = NULL;
    if (reader != NULL)
        peri_op_done(&reader->op);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct stream *stream = handle->data;
    (void) suggested;
    *buf = uv_buf_init(peri_buf_reserve(&stream->in, READ_SIZE), READ_SIZE);
}

static void on_read(uv_stream_t *handle, ssize_t nread, const uv_buf_t *buf)
{
    struct stream *stream = handle->data;
    (void) buf;
    if (nread > 0)
        stream->in.len += (size_t) nread;
    else if (nread < 0)
        stream->status = (int) nread;
    if (nread == 0)
        return;
    uv_read_stop(handle); /* only a reader makes room */
    wake_reader(stream);
}

static void on_stream_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;
    peri_buf_deinit(&stream->in);
    free(stream);
}

static struct stream *check_stream(lua_State *L)
{
    struct stream **box = luaL_checkudata(L, 1, STREAM_TYPE);
    if (*box == NULL)
        luaL_error(L, "the stream is closed");
    return *box;
}

static int push_read(lua_State *L, struct stream *stream)
{
    if (stream->in.len > 0) {
        lua_pushlstring(L, stream->in.data, stream->in.len);
        stream->in.len = 0;
        return 1;
    }
    if (stream->status == UV_EOF || stream->status == 0) {
        lua_pushnil(L);
        return 1;
    }
    return peri_push_error(L, stream->status);
}

static int read_finish(lua_State *L, struct peri_op *op)
{
    struct read_op *read = peri_container_of(op, struct read_op, op);
    if (*read->box == NULL)
        return luaL_error(L, "the stream was closed while it was read");
    return push_read(L, *read->box);
}

static void read_cancel(struct peri_op *op)
{
    struct read_op *read = peri_container_of(op, struct read_op, op);
    uv_read_stop((uv_stream_t *) &(*read->box)->pipe);
    wake_reader(*read->box);
}

/* stream:read(): what has come, waiting for the first byte; nil at the end, nil and an error when
 * the connection was cut. */
static int stream_read(lua_State *L)
{
    struct stream *stream = check_stream(L);
    if (stream->in.len > 0 || stream->status != 0)
        return push_read(L, stream);
    if (stream->reader != NULL)
        return luaL_error(L, "another task reads from this stream");
    struct read_op *read = peri_op_new(L, sizeof(*read));
    read->box = lua_touserdata(L, 1);
    read->op.finish = read_finish;
    read->op.cancel = read_cancel;
    stream->reader = read;
    uv_read_start((uv_stream_t *) &stream->pipe, on_alloc, on_read);
    return peri_op_await(L, &read->op);
}

struct write_op {
    struct peri_op op;
    uv_write_t req;
    struct stream **box;
    int status;
};

static void on_written(uv_write_t *req, int status)
{
    struct write_op *write = req->data;
    write->status = status;
    peri_op_done(&write->op);
}

static int write_finish(lua_State *L, struct peri_op *op)
{
    struct write_op *write = peri_container_of(op, struct write_op, op);
    if (write->status < 0)
        return peri_push_error(L, write->status);
    lua_pushboolean(L, 1);
    return 1;
}

static void close_stream(struct stream **box)
{
    struct stream *stream = *box;
    *box = NULL;
    if (stream == NULL)
        return;
    wake_reader(stream);
    uv_close((uv_handle_t *) &stream->pipe, on_stream_closed);
}

/* A write that nobody reads ends with its connection only. */
static void write_cancel(struct peri_op *op)
{
    struct write_op *write = peri_container_of(op, struct write_op, op);
    close_stream(write->box);
}

/* stream:write(bytes): waits until the system has taken them. True; or nil and an error. */
static int stream_write(lua_State *L)
{
    struct stream *stream = check_stream(L);
    size_t len = 0;
    const char *bytes = luaL_checklstring(L, 2, &len);
    lua_settop(L, 2);
    struct write_op *write = peri_op_new(L, sizeof(*write));
    write->box = lua_touserdata(L, 1);
    write->op.finish = write_finish;
    write->op.cancel = write_cancel;
    write->req.data = write;
    uv_buf_t buf = uv_buf_init((char *) bytes, (unsigned) len);
    int rc = uv_write(&write->req, (uv_stream_t *) &stream->pipe, &buf, 1, on_written);
    return rc < 0 ? peri_push_error(L, rc) : peri_op_await(L, &write->op);
}

/* stream:close(), also as __close and __gc. */
static int stream_close(lua_State *L)
{
    close_stream(luaL_checkudata(L, 1, STREAM_TYPE));
    return 0;
}

static const luaL_Reg stream_methods[] = {
    {"read", stream_read},
    {"write", stream_write},
    {"close", stream_close},
    {NULL, NULL},
};

static const luaL_Reg stream_metamethods[] = {
    {"__close", stream_close},
    {"__gc", stream_close},
    {NULL, NULL},
};

static void push_stream_metatable(lua_State *L)
{
    if (!luaL_newmetatable(L, STREAM_TYPE))
        return;
    luaL_setfuncs(L, stream_metamethods, 0);
    luaL_newlib(L, stream_methods);
    lua_setfield(L, -2, "__index");
}

static union peri_address check_address(lua_State *L, int index)
{
    union peri_address address = {0};
    const char *host = luaL_checkstring(L, index);
    lua_Integer port = luaL_checkinteger(L, index + 1);
    luaL_argcheck(L, port >= 0 && port < 65536, index + 1, "a port expected");
    if (inet_pton(AF_INET, host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons((uint16_t) port);
    } else if (inet_pton(AF_INET6, host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons((uint16_t) port);
    } else {
        luaL_argerror(L, index, "an IP address expected");
    }
    return address;
}

/* connect(host, port): a stream to the open app, which takes this for the client's address. */
static int test_connect(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    union peri_address peer = check_address(L, 1);
    if (loop->vm->app.router == NULL)
        return luaL_error(L, "no app is open");

    struct stream **box = lua_newuserdatauv(L, sizeof(struct stream *), 0);
    *box = NULL;
    push_stream_metatable(L);
    lua_setmetatable(L, -2);
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return peri_push_error(L, uv_translate_sys_error(errno));
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL || uv_pipe_init(&loop->uv, &stream->pipe, 0) != 0) {
        free(stream);
        close(fds[0]);
        close(fds[1]);
        return luaL_error(L, "out of memory");
    }
    stream->pipe.data = stream;
    *box = stream;
    int rc = uv_pipe_open(&stream->pipe, fds[0]);
    if (rc < 0) {
        close(fds[0]);
        close(fds[1]);
        return peri_push_error(L, rc);
    }
    atomic_fetch_add(&loop->server->connections, 1);
    peri_conn_open(loop, fds[1], &peer);
    return 1;
}

/* --- tasks -------------------------------------------------------------------------------------
 */

struct run_op {
    struct peri_op op;
    struct peri_loop *loop;
    struct peri_task *task; /* NULL once it has ended */
    struct peri_timer timeout;
    int function;
    int error; /* registry reference of what it raised; LUA_NOREF: it returned */
};

/* The task that waits in run(): the runner. Commands have one VM, so one is enough. */
static struct peri_task *runner;

static int run_end(lua_State *L, int status, lua_KContext context)
{
    struct run_op *run = (struct run_op *) context;
    if (status != LUA_OK && status != LUA_YIELD)
        run->error = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* Errors that are tables reach the runner as they are: its own, for one. */
static int keep_tables(lua_State *L)
{
    return lua_istable(L, 1) ? 1 : peri_traceback(L);
}

static int run_main(lua_State *L)
{
    struct run_op *run = lua_touserdata(L, 1);
    run->task = peri_task_current(L);
    lua_settop(L, 0);
    lua_pushcfunction(L, keep_tables);
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->function);
    int status = lua_pcallk(L, 0, 0, 1, (lua_KContext) run, run_end);
    return run_end(L, status, (lua_KContext) run);
}

static void on_run_ended(struct peri_task *task, void *owner, bool failed)
{
    struct run_op *run = owner;
    if (failed && run->error == LUA_NOREF) { /* out of memory, as a rule */
        lua_pushvalue(task->L, -1);
        run->error = luaL_ref(task->L, LUA_REGISTRYINDEX);
    }
    run->task = NULL;
    peri_timer_stop(&run->loop->timers, &run->timeout);
    peri_op_done(&run->op);
}

static void on_run_timeout(struct peri_timer *timer)
{
    struct run_op *run = peri_container_of(timer, struct run_op, timeout);
    peri_task_cancel(run->task, "the test took too long");
}

static int run_finish(lua_State *L, struct peri_op *op)
{
    struct run_op *run = peri_container_of(op, struct run_op, op);
    runner = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, run->function);
    lua_pushboolean(L, run->error == LUA_NOREF);
    if (run->error == LUA_NOREF)
        return 1;
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->error);
    luaL_unref(L, LUA_REGISTRYINDEX, run->error);
    return 2;
}

static void run_cancel(struct peri_op *op)
{
    struct run_op *run = peri_container_of(op, struct run_op, op);
    if (run->task != NULL)
        peri_task_cancel(run->task, "the tests were stopped");
}

/* run(function, timeout_ms): runs it in a task of its own and waits for its end; after the time
 * (of the real clock) it is cancelled. True; or false and what it raised. */
static int test_run(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_Integer timeout_ms = luaL_checkinteger(L, 2);
    struct peri_loop *loop = loop_of(L);
    struct run_op *run = peri_op_new(L, sizeof(*run));
    run->loop = loop;
    run->op.finish = run_finish;
    run->op.cancel = run_cancel;
    run->timeout.fire = on_run_timeout;
    run->error = LUA_NOREF;
    lua_pushvalue(L, 1);
    run->function = luaL_ref(L, LUA_REGISTRYINDEX);
    runner = run->op.task;
    uv_update_time(&loop->uv);
    if (peri_task_start(&loop->vm->tasks, run_main, run, on_run_ended) != NULL)
        peri_timer_start(&loop->timers, &run->timeout, uv_now(&loop->uv) + (uint64_t) timeout_ms);
    return peri_op_await(L, &run->op);
}

static void count_handle(uv_handle_t *handle, void *context)
{
    lua_State *L = context;
    if (handle->type == UV_ASYNC && !uv_has_ref(handle))
        return; /* a letter box of the VM, made when it is first needed */
    const char *type = uv_handle_type_name(handle->type);
    lua_getfield(L, -1, type);
    lua_Integer count = lua_tointeger(L, -1);
    lua_pop(L, 1);
    lua_pushinteger(L, count + 1);
    lua_setfield(L, -2, type);
}

/* counts(): { tasks, connections, waits, handles = { tcp = 1, ... } }: what there is right now. */
static int test_counts(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, loop->vm->tasks.alive);
    lua_setfield(L, -2, "tasks");
    lua_pushinteger(L, atomic_load(&loop->conn_count));
    lua_setfield(L, -2, "connections");
    lua_pushinteger(L, loop->vm->timers->count);
    lua_setfield(L, -2, "waits");
    lua_newtable(L);
    uv_walk(&loop->uv, count_handle, L);
    lua_setfield(L, -2, "handles");
    return 1;
}

static void cancel_list(struct peri_list *tasks)
{
    struct peri_list *next = NULL;
    for (struct peri_list *at = tasks->next; at != tasks; at = next) {
        next = at->next; /* cancelling moves a parked task to the ready ones */
        struct peri_task *task = peri_container_of(at, struct peri_task, link);
        if (task != runner)
            peri_task_cancel(task, "the test has ended");
    }
}

/* cut(): closes the server's ends of all connections and cancels all tasks but the running one and
 * the runner. */
static int test_cut(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    peri_loop_cut(loop);
    cancel_list(&loop->vm->tasks.ready);
    cancel_list(&loop->vm->tasks.parked);
    return 0;
}

/* is_settled(): whether no task but the running one could go on right now. */
static int test_is_settled(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    lua_pushboolean(L, peri_list_empty(&loop->vm->tasks.ready) && loop->uv.active_reqs.count == 0);
    return 1;
}

/* --- the clock ---------------------------------------------------------------------------------
 */

/* Makes a frozen clock jump to the next deadline when nothing else can happen. */
struct jumper {
    uv_timer_t tick;
    struct peri_loop *loop;
    uint64_t resumes;
    unsigned quiet;
};

static void count_outside(uv_handle_t *handle, void *context)
{
    unsigned *count = context;
    bool outside = handle->type == UV_TCP || handle->type == UV_UDP || handle->type == UV_PROCESS;
    *count += outside && uv_is_active(handle);
}

/* Whether somebody outside of this process may answer: then real time passes. The loop's own
 * connections lead to the test's clients. */
static bool waits_for_others(struct peri_loop *loop)
{
    unsigned count = 0;
    uv_walk(&loop->uv, count_outside, &count);
    return count > atomic_load(&loop->conn_count) || loop->uv.active_reqs.count > 0;
}

static void on_tick(uv_timer_t *tick)
{
    struct jumper *jumper = tick->data;
    struct peri_tasks *tasks = &jumper->loop->vm->tasks;
    struct peri_timers *timers = jumper->loop->vm->timers;
    bool quiet = tasks->resumes == jumper->resumes && peri_list_empty(&tasks->ready) &&
                 !waits_for_others(jumper->loop);
    jumper->resumes = tasks->resumes;
    jumper->quiet = quiet ? jumper->quiet + 1 : 0;
    if (jumper->quiet < QUIET_TICKS || timers->count == 0)
        return;
    jumper->quiet = 0;
    peri_timers_advance(timers, UINT64_MAX);
}

static void on_jumper_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int jumper_close(lua_State *L)
{
    struct jumper **box = lua_touserdata(L, 1);
    if (*box != NULL)
        uv_close((uv_handle_t *) &(*box)->tick, on_jumper_closed);
    *box = NULL;
    return 0;
}

/* freeze(jumps): the clock of tasks stands still. With `jumps` it jumps to the next deadline when
 * nothing else can happen; returns what ends that when it is closed. */
static int test_freeze(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    uv_update_time(&loop->uv);
    peri_timers_freeze(loop->vm->timers);
    if (!lua_toboolean(L, 1))
        return 0;
    struct jumper **box = lua_newuserdatauv(L, sizeof(struct jumper *), 0);
    *box = NULL;
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, jumper_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, jumper_close);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    struct jumper *jumper = calloc(1, sizeof(*jumper));
    if (jumper == NULL)
        return luaL_error(L, "out of memory");
    jumper->loop = loop;
    uv_timer_init(&loop->uv, &jumper->tick);
    jumper->tick.data = jumper;
    *box = jumper;
    uv_timer_start(&jumper->tick, on_tick, 1, 1);
    return 1;
}

/* thaw(): the clock goes on. */
static int test_thaw(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    uv_update_time(&loop->uv);
    peri_timers_thaw(loop->vm->timers);
    return 0;
}

/* advance(until): moves a frozen clock to the next deadline up to `until` and wakes who waited for
 * it. False when there was none: then it is `until`. */
static int test_advance(lua_State *L)
{
    struct peri_timers *timers = loop_of(L)->vm->timers;
    if (!timers->frozen)
        return luaL_error(L, "the clock is not frozen");
    lua_pushboolean(L, peri_timers_advance(timers, (uint64_t) luaL_checkinteger(L, 1)));
    return 1;
}

/* now(): the clock of tasks, in milliseconds. */
static int test_now(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer) peri_timers_now(loop_of(L)->vm->timers));
    return 1;
}

/* stopwatch(): seconds of a clock that nothing freezes. */
static int test_stopwatch(lua_State *L)
{
    lua_pushnumber(L, (lua_Number) uv_hrtime() / 1e9);
    return 1;
}

/* --- lines that ran ----------------------------------------------------------------------------
 */

static void on_line(lua_State *L, lua_Debug *event)
{
    lua_getinfo(L, "S", event);
    if (event->source[0] != '@' || !lua_checkstack(L, 4))
        return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, LINES_KEY);
    if (lua_getfield(L, -1, event->source) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, event->source);
    }
    lua_rawgeti(L, -1, event->currentline);
    lua_pushinteger(L, lua_tointeger(L, -1) + 1);
    lua_rawseti(L, -3, event->currentline);
    lua_pop(L, 3);
}

/* count_lines(): from here on counts how often each line runs, in every coroutine that this one or
 * the host makes. Returns the counts, { ["@file"] = { [line] = count } }, which grow. A coroutine
 * has one hook, so the watchdog of this thread goes home: who computes is not interrupted any more.
 */
static int test_count_lines(lua_State *L)
{
    struct peri_loop *loop = loop_of(L);
    if (peri_slice_hooked != NULL)
        peri_slice_disarm();
    peri_watchdog_close();
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, LINES_KEY);
    lua_sethook(loop->vm->L, on_line, LUA_MASKLINE, 0); /* new coroutines inherit it */
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    for (struct peri_list *at = loop->vm->tasks.free.next; at != &loop->vm->tasks.free;
         at = at->next)
        lua_sethook(peri_container_of(at, struct peri_task, link)->L, on_line, LUA_MASKLINE, 0);
    return 1;
}

/* --- the log -----------------------------------------------------------------------------------
 */

static struct peri_buf captured;

/* capture_log(on): error lines of the log are kept in place of written; without `on` they are
 * written again. Returns what was kept so far. */
static int test_capture_log(lua_State *L)
{
    loop_of(L);
    peri_log_divert(lua_toboolean(L, 1) ? &captured : NULL);
    lua_pushlstring(L, captured.data != NULL ? captured.data : "", captured.len);
    if (lua_toboolean(L, 1))
        captured.len = 0;
    else
        peri_buf_deinit(&captured);
    return 1;
}

static const luaL_Reg test_functions[] = {
    {"background", test_background},
    {"advance", test_advance},
    {"capture_log", test_capture_log},
    {"connect", test_connect},
    {"count_lines", test_count_lines},
    {"counts", test_counts},
    {"cut", test_cut},
    {"freeze", test_freeze},
    {"is_settled", test_is_settled},
    {"now", test_now},
    {"open", test_open},
    {"run", test_run},
    {"shadowed", test_shadowed},
    {"stopwatch", test_stopwatch},
    {"thaw", test_thaw},
    {NULL, NULL},
};

int peri_open_test(lua_State *L)
{
    luaL_newlib(L, test_functions);
    return 1;
}
