/* Runs a Lua script as a task of a VM of the real host, for the framework's tests:
 *
 *     lua_runner tests/lua/run.lua [argument ...]
 *
 * The script may wait like a handler. The exit code is 0 when it ended without an error and left
 * nothing open on the loop. */
#include "timer.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdio.h>

struct run {
    int argc;
    char **argv; /* the script, then its arguments */
    bool failed;
};

static int after_script(lua_State *L, int status, lua_KContext context)
{
    struct run *run = (struct run *) context;
    run->failed = status != LUA_OK && status != LUA_YIELD;
    if (run->failed)
        fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
    return 0;
}

static int run_script(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    lua_createtable(L, run->argc, 0);
    for (int i = 0; i < run->argc; i++) {
        lua_pushstring(L, run->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");

    lua_pushcfunction(L, peri_traceback);
    int status = luaL_loadfilex(L, run->argv[0], "t");
    if (status == LUA_OK)
        status = lua_pcallk(L, 0, 0, -2, (lua_KContext) run, after_script);
    return after_script(L, status, (lua_KContext) run);
}

static void on_ended(struct peri_task *task, void *owner, bool failed)
{
    struct run *run = owner;
    (void) task;
    run->failed = run->failed || failed;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: lua_runner SCRIPT [ARGUMENT ...]\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);

    uv_loop_t loop;
    struct peri_timers timers;
    struct peri_vm vm;
    struct run run = {argc - 1, argv + 1, false};
    uv_loop_init(&loop);
    peri_timers_open(&timers, &loop);
    if (peri_vm_open(&vm, &loop, &timers) != 0)
        return 1;
    peri_task_start(&vm.tasks, run_script, &run, on_ended);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (vm.tasks.alive > 0) {
        fputs("lua_runner: the script waits for something that never happens\n", stderr);
        return 1; /* a VM with a task in it cannot be closed */
    }

    peri_vm_close(&vm);
    peri_timers_close(&timers);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0) {
        fputs("lua_runner: the script left something open on the loop\n", stderr);
        uv_print_all_handles(&loop, stderr);
        return 1;
    }
    return run.failed;
}
