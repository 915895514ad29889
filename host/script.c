#include "script.h"

#include "api/api.h"
#include "log.h"
#include "loop.h"
#include "server.h"
#include "slice.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PATIENCE_MS 1000 /* for tasks that a script leaves behind */

struct script {
    int argc;
    char **argv;
    bool is_command;
    bool missing; /* there is no such file, or it cannot be read */
    int function; /* registry reference of a closure over the arguments */
};

static int after_call(lua_State *L, int status, lua_KContext context)
{
    (void) L;
    (void) status;
    (void) context;
    return 1;
}

/* Calls upvalue 1 with the others. */
static int call_with_arguments(lua_State *L)
{
    int count = 0;
    while (!lua_isnone(L, lua_upvalueindex(count + 1)))
        count++;
    lua_settop(L, 0);
    for (int i = 1; i <= count; i++)
        lua_pushvalue(L, lua_upvalueindex(i));
    lua_callk(L, count - 1, 1, 0, after_call);
    return 1;
}

static void push_file(lua_State *L, struct script *script)
{
    const char *path = script->argv[0];
    struct stat info;
    script->missing = true;
    if (stat(path, &info) != 0)
        luaL_error(L, "no script at '%s': %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        luaL_error(L, "'%s' is a folder, and no script", path);
    if (!peri_vm_find_app(L, path))
        lua_error(L);
    const char *file = lua_tostring(L, -1);
    lua_createtable(L, script->argc, 1);
    for (int i = 0; i < script->argc; i++) {
        lua_pushstring(L, script->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
    int status = luaL_loadfilex(L, file, "t");
    script->missing = status == LUA_ERRFILE;
    if (status != LUA_OK)
        lua_error(L);
}

static void push_command(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "perigee.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
}

/* Protected: makes the function that is run. */
static int prepare(lua_State *L)
{
    struct script *script = lua_touserdata(L, 1);
    if (script->is_command)
        push_command(L);
    else
        push_file(L, script);
    luaL_checkstack(L, script->argc + 1, "too many arguments");
    if (script->argc > 200)
        return luaL_error(L, "too many arguments: 200 at most");
    int first = script->is_command ? 0 : 1;
    for (int i = first; i < script->argc; i++)
        lua_pushstring(L, script->argv[i]);
    lua_pushcclosure(L, call_with_arguments, script->argc - first + 1);
    script->function = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void on_patience_over(struct peri_timer *timer)
{
    (void) timer;
}

/* Connections and tasks that the script left behind end, and may clean up for a moment. */
static void end_all(struct peri_loop *loop, struct peri_vm *vm)
{
    struct peri_timer patience = {.fire = on_patience_over};
    peri_timers_thaw(vm->timers);
    peri_loop_cut(loop);
    uv_update_time(&loop->uv);
    peri_tasks_end_by(&vm->tasks, uv_now(&loop->uv) + PATIENCE_MS / 2);
    peri_tasks_cancel(&vm->tasks, "the script has ended");
    peri_timer_start(&loop->timers, &patience, uv_now(&loop->uv) + PATIENCE_MS);
    while (vm->tasks.alive > 0 && peri_timer_runs(&patience))
        uv_run(&loop->uv, UV_RUN_ONCE);
    peri_timer_stop(&loop->timers, &patience);
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* lets go of what was closed */
}

/* Runs the script; what is wrong is appended to `error`. */
static lua_Integer call(struct script *script, struct peri_vm *vm, struct peri_buf *error)
{
    lua_Integer code = 0;
    lua_pushcfunction(vm->L, prepare);
    lua_pushlightuserdata(vm->L, script);
    if (lua_pcall(vm->L, 1, 0, 0) != LUA_OK) {
        const char *text = lua_tostring(vm->L, -1);
        peri_buf_add_str(error, text != NULL ? text : "an error without a text");
    } else {
        vm->tasks.quiet = true; /* a script may compute */
        peri_vm_call(vm, script->function, 0, &code, error);
    }
    return code;
}

/* The loop serves nobody, but what runs in it can: tests put an app into it (api/api_test.c). The
 * VM is of no generation. Its waits have a clock of their own, which a test may freeze without
 * freezing the deadlines of connections. */
static int run(struct script *script)
{
    struct peri_config config;
    struct peri_server server = {.config = &config};
    struct peri_loop loop;
    struct peri_timers timers;
    struct peri_vm vm;
    struct peri_buf error = {0};

    signal(SIGPIPE, SIG_IGN);
    peri_config_default(&config);
    if (peri_loop_open(&loop, &server, 0) != 0)
        return 1;
    uv_unref((uv_handle_t *) &loop.wake); /* nobody sends it: a script may wait for nothing */
    peri_timers_open(&timers, &loop.uv);
    if (peri_vm_open(&vm, &loop.uv, &timers) != 0)
        return 1;
    vm.life.loop = &loop;
    loop.vm = &vm;
    peri_test_offer(vm.L, &loop);

    peri_watchdog_open(peri_slice_overran);
    lua_Integer code = call(script, &vm, &error);
    if (error.len > 0) {
        peri_log_error("%.*s", (int) error.len, error.data);
        code = script->missing ? 2 : 1;
    }
    peri_buf_deinit(&error);
    end_all(&loop, &vm);
    peri_vm_close(&vm);
    peri_watchdog_close();
    peri_timers_close(&timers);
    if (peri_loop_close(&loop) != 0)
        peri_log_error("the script ended with an open handle: please report this");
    return (int) code;
}

int peri_script_run(int argc, char **argv)
{
    return run(&(struct script){.argc = argc, .argv = argv});
}

int peri_script_command(int argc, char **argv)
{
    return run(&(struct script){.argc = argc, .argv = argv, .is_command = true});
}
