#include "script.h"

#include "log.h"
#include "vm.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>

struct script {
    int argc;
    char **argv;
    bool is_command;
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
    if (!peri_vm_find_app(L, script->argv[0]))
        lua_error(L);
    const char *file = lua_tostring(L, -1);
    lua_createtable(L, script->argc, 1);
    for (int i = 0; i < script->argc; i++) {
        lua_pushstring(L, script->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
    if (luaL_loadfilex(L, file, "t") != LUA_OK)
        lua_error(L);
}

static void push_command(lua_State *L, struct script *script)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "perigee.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, script->argv[0]);
}

/* Protected: makes the function that is run. */
static int prepare(lua_State *L)
{
    struct script *script = lua_touserdata(L, 1);
    if (script->is_command)
        push_command(L, script);
    else
        push_file(L, script);
    luaL_checkstack(L, script->argc, "too many arguments");
    if (script->argc > 200)
        return luaL_error(L, "too many arguments: 200 at most");
    for (int i = 1; i < script->argc; i++)
        lua_pushstring(L, script->argv[i]);
    lua_pushcclosure(L, call_with_arguments, script->argc);
    script->function = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int run(struct script *script)
{
    uv_loop_t loop;
    struct peri_timers timers;
    struct peri_vm vm;
    struct peri_buf error = {0};
    lua_Integer code = 0;

    signal(SIGPIPE, SIG_IGN);
    if (uv_loop_init(&loop) != 0)
        return 1;
    peri_timers_open(&timers, &loop);
    if (peri_vm_open(&vm, &loop, &timers) != 0)
        return 1;
    lua_pushcfunction(vm.L, prepare);
    lua_pushlightuserdata(vm.L, script);
    if (lua_pcall(vm.L, 1, 0, 0) != LUA_OK) {
        const char *text = lua_tostring(vm.L, -1);
        peri_buf_add_str(&error, text != NULL ? text : "an error without a text");
    } else {
        peri_vm_call(&vm, script->function, 0, &code, &error);
    }
    if (error.len > 0) {
        peri_log_error("%.*s", (int) error.len, error.data);
        code = 1;
    }
    peri_buf_deinit(&error);
    peri_vm_close(&vm);
    peri_timers_close(&timers);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
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
