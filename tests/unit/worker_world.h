/* For tests of trips and workers: an app with one threaded function, loaded in a VM on this
 * thread, and two workers. Chunks of Lua make trips whose bodies are the test's, in C:
 * call(name, text) returns what the body wrote. */
#ifndef WORKER_WORLD_H
#define WORKER_WORLD_H

#include "trip.h"
#include "vm.h"
#include "worker.h"

#include <lauxlib.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define THREADS 2
#define MAX_QUEUED 2
#define MAX_WAIT_MS 1000

static const char APP[] =
    "local perigee = require('perigee')\n"
    "local app = perigee.app({ limits = { max_queued = 2, queue_timeout_ms = 1000 } })\n"
    "perigee.threaded(function() end)\n"
    "return app\n";

static struct {
    uv_loop_t loop;
    struct peri_timers timers;
    struct peri_vm vm;
    struct peri_config config;
    struct peri_workers *workers;
    struct peri_buf trace; /* what chunks logged */
    char folder[64];
    sem_t go_on;      /* what blocks waits for it */
    atomic_int begun; /* bodies, so far */
    atomic_int cargo_drops;
} world;

struct run {
    const char *chunk;
    struct peri_task *task;
    bool ended;
};

/* --- bodies, on a worker's thread --- */

static inline void answer(struct peri_trip *trip, const char *text)
{
    peri_buf_add_str(&trip->out, text);
}

static inline int echo_body(lua_State *L)
{
    struct peri_trip *trip = lua_touserdata(L, 1);
    atomic_fetch_add(&world.begun, 1);
    peri_buf_add(&trip->out, trip->in.data, trip->in.len);
    return 0;
}

/* C code that nobody can interrupt. */
static inline int blocked_body(lua_State *L)
{
    atomic_fetch_add(&world.begun, 1);
    sem_wait(&world.go_on);
    answer(lua_touserdata(L, 1), "unblocked");
    return 0;
}

/* Waits for ever: ends when it is cancelled. */
static inline int asleep_body(lua_State *L)
{
    atomic_fetch_add(&world.begun, 1);
    return peri_task_sleep(L, UINT64_MAX);
}

static inline int raising_body(lua_State *L)
{
    answer(lua_touserdata(L, 1), "half of it");
    return luaL_error(L, "the body broke");
}

/* Its result is taken even by a caller that is cancelled meanwhile. */
static inline int promising_body(lua_State *L)
{
    bool promised = peri_worker_promise(peri_vm_of(L)->worker);
    atomic_fetch_add(&world.begun, 1);
    sem_wait(&world.go_on);
    answer(lua_touserdata(L, 1), promised ? "promised" : "nobody waits");
    return 0;
}

/* --- what chunks call --- */

static inline void drop_cargo_of(void *cargo)
{
    atomic_fetch_add(&world.cargo_drops, 1);
    free(cargo);
}

static inline int finish_text(lua_State *L, struct peri_trip *trip)
{
    if (trip->failed)
        return luaL_error(L, "failed: %s", lua_pushlstring(L, trip->out.data, trip->out.len));
    lua_pushlstring(L, trip->out.data, trip->out.len);
    return 1;
}

static int guest_body(lua_State *L);

static inline int visit_finish(lua_State *L, struct peri_trip *trip)
{
    struct peri_trip *ours = peri_worker_trip(peri_vm_of(L)->worker);
    answer(ours, trip->failed ? "refused: " : "guest: ");
    peri_buf_add(&ours->out, trip->out.data, trip->out.len);
    return 0;
}

/* Calls back on the thread that the trip came from. */
static inline int visiting_body(lua_State *L)
{
    struct peri_vm *vm = peri_vm_of(L);
    struct peri_trip *trip = peri_trip_take(vm);
    trip->body = guest_body;
    atomic_fetch_add(&world.begun, 1);
    return peri_trip_visit(L, trip, peri_worker_origin(vm->worker), visit_finish);
}

/* call(name, text, urgent) */
static inline int lua_call_worker(lua_State *L)
{
    static const char *const names[] = {"echo",     "blocked",  "asleep", "raises",
                                        "promises", "visiting", NULL};
    static const lua_CFunction bodies[] = {echo_body,    blocked_body,   asleep_body,
                                           raising_body, promising_body, visiting_body};
    struct peri_trip *trip = peri_trip_take(peri_vm_of(L));
    trip->body = bodies[luaL_checkoption(L, 1, NULL, names)];
    trip->urgent = lua_toboolean(L, 3);
    trip->cargo = malloc(8);
    trip->drop = drop_cargo_of;
    peri_buf_add_str(&trip->in, luaL_optstring(L, 2, ""));
    return peri_trip_await(L, trip, finish_text);
}

static inline int lua_log(lua_State *L)
{
    for (int i = 1; i <= lua_gettop(L); i++) {
        if (world.trace.len > 0)
            peri_buf_add_byte(&world.trace, ' ');
        peri_buf_add_str(&world.trace, luaL_tolstring(L, i, NULL));
        lua_pop(L, 1);
    }
    return 0;
}

/* --- running --- */

static inline int on_chunk_end(lua_State *L, int status, lua_KContext context)
{
    (void) context;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushcfunction(L, lua_log);
        lua_insert(L, -2);
        lua_call(L, 1, 0);
    }
    return 0;
}

static inline int chunk_body(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    run->task = peri_task_current(L);
    if (luaL_loadbuffer(L, run->chunk, strlen(run->chunk), "=chunk") != LUA_OK)
        return lua_error(L);
    return on_chunk_end(L, lua_pcallk(L, 0, 0, 0, 0, on_chunk_end), 0);
}

static inline void on_chunk_over(struct peri_task *task, void *owner, bool failed)
{
    (void) task;
    assert_false(failed);
    ((struct run *) owner)->ended = true;
}

static inline void start(struct run *run, const char *chunk)
{
    *run = (struct run){.chunk = chunk};
    peri_task_start(&world.vm.tasks, chunk_body, run, on_chunk_over);
}

/* Runs the loop until the chunk has ended. */
static inline void finish(struct run *run)
{
    while (!run->ended) {
        uv_ref((uv_handle_t *) &world.vm.tasks.prepare); /* trips do not keep the loop alive */
        uv_run(&world.loop, UV_RUN_NOWAIT);
        uv_unref((uv_handle_t *) &world.vm.tasks.prepare);
        if (!run->ended)
            uv_sleep(1);
    }
}

static inline void logged(const char *expected)
{
    peri_buf_add_byte(&world.trace, '\0');
    assert_string_equal(world.trace.data, expected);
    world.trace.len = 0;
}

static inline void does(const char *chunk, const char *expected)
{
    struct run run;
    start(&run, chunk);
    finish(&run);
    logged(expected);
}

/* Gives away what the tasks have asked for. */
static inline void turn(void)
{
    uv_run(&world.loop, UV_RUN_NOWAIT);
}

static inline void wait_until_begun(int count)
{
    while (atomic_load(&world.begun) < count)
        uv_sleep(1);
}

static inline void wait_until_busy(unsigned count)
{
    while (peri_workers_stats(world.workers).busy != count)
        uv_sleep(1);
}

static inline int set_up(void **state)
{
    (void) state;
    char path[80];
    struct peri_buf error = {0};
    sem_init(&world.go_on, 0, 0);
    atomic_store(&world.begun, 0);
    atomic_store(&world.cargo_drops, 0);
    snprintf(world.folder, sizeof(world.folder), "/tmp/perigee-worker-XXXXXX");
    if (mkdtemp(world.folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/app.lua", world.folder);
    FILE *file = fopen(path, "w");
    fputs(APP, file);
    fclose(file);
    peri_config_default(&world.config);
    world.config.app = world.folder;
    world.config.threads = THREADS;
    uv_loop_init(&world.loop);
    peri_timers_open(&world.timers, &world.loop);
    int rc = peri_vm_open(&world.vm, &world.loop, &world.timers);
    if (rc == 0)
        rc = peri_vm_load(&world.vm, &world.config, &error);
    if (rc == 0)
        rc = peri_workers_open(&world.workers, &world.config, &world.vm, NULL, NULL, &error);
    if (rc != 0)
        print_error("%.*s\n", (int) error.len, error.data);
    peri_buf_deinit(&error);
    world.vm.workers = world.workers;
    peri_timers_freeze(&world.timers); /* nobody waits for too long, however slow the machine is */
    lua_register(world.vm.L, "call", lua_call_worker);
    lua_register(world.vm.L, "log", lua_log);
    unlink(path);
    rmdir(world.folder);
    return rc;
}

/* Every task has ended, and no handle stays open. */
static inline void close_vm(void)
{
    assert_int_equal(world.vm.tasks.alive, 0);
    peri_vm_close(&world.vm);
    peri_timers_thaw(&world.timers);
    peri_timers_close(&world.timers);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
}

/* Every worker ends. */
static inline int end_workers(void **state)
{
    (void) state;
    peri_workers_release(world.workers);
    assert_true(peri_workers_wait(60000));
    peri_buf_deinit(&world.trace);
    world.trace = (struct peri_buf){0};
    sem_destroy(&world.go_on);
    return 0;
}

static inline int tear_down(void **state)
{
    close_vm();
    return end_workers(state);
}

#endif
