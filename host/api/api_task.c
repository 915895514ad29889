/* perigee.host.task: scopes with deadlines, values of a task, and what the scheduler has done. */
#include "api.h"

#include "locals.h"
#include "protect.h"
#include "vm.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char SCOPE_TYPE[] = "perigee.Scope";

/* --- timeout, move_on, shield ------------------------------------------------------------------
 */

enum { TIMEOUT, MOVE_ON, SHIELD, UNTIL_STOP };

struct call_scope {
    struct peri_timed_scope timed;
    struct peri_until_stop until; /* UNTIL_STOP */
};

/* How a call of one of them uses the stack: the scope, peri_protect_keep, the function and its
 * arguments, later its results. */
enum { AT_SCOPE = 1, AT_KEEP, AT_FUNCTION };

static void on_deadline(struct peri_timer *timer)
{
    peri_scope_cancel(&peri_container_of(timer, struct peri_timed_scope, timer)->opened.scope,
                      "it took too long");
}

/* Serves the end of the call, __close and __gc: a coroutine may be closed or dropped in the middle.
 */
static void leave(struct call_scope *call)
{
    peri_list_remove(&call->until.link);
    peri_timer_stop(call->timed.timers, &call->timed.timer);
    peri_task_leave(&call->timed.opened.scope);
}

static int scope_close(lua_State *L)
{
    leave(lua_touserdata(L, 1));
    return 0;
}

static void push_reason(lua_State *L, int kind, const struct peri_timed_scope *timed)
{
    char text[64];
    if (kind == UNTIL_STOP) {
        peri_push_error_text(L, "ESTOPPING", timed->opened.scope.seen);
        return;
    }
    snprintf(text, sizeof(text), "it took longer than %llu ms", (unsigned long long) timed->ms);
    peri_push_error_text(L, "ETIMEDOUT", text);
}

static int scoped_end(lua_State *L, int status, lua_KContext unwinding)
{
    struct call_scope *call = lua_touserdata(L, AT_SCOPE);
    const struct peri_timed_scope *timed = &call->timed;
    int kind = (int) lua_tointeger(L, lua_upvalueindex(1));
    /* The end of its own time ends here, unless what is around it is to end, too. */
    const struct peri_scope *outer = timed->opened.scope.parent;
    bool late =
        timed->opened.scope.cancelled && (timed->opened.scope.shield || outer->seen == NULL);
    leave(call);
    peri_protect_end(L, unwinding != 0);
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - AT_KEEP;
    if (!late || !peri_is_cancelled(L, -1))
        return lua_error(L);
    push_reason(L, kind, timed);
    return kind == TIMEOUT ? lua_error(L) : 2;
}

/* Starts what ends the scope, but for its function: its time, or the end of the VM. */
static void bound(struct peri_vm *vm, struct call_scope *call, int kind)
{
    if (kind == UNTIL_STOP)
        peri_background_add(vm, &call->until, &call->timed.opened.scope);
    else if (kind != SHIELD)
        peri_timer_start(vm->timers, &call->timed.timer, uv_now(vm->tasks.loop) + call->timed.ms);
}

/* timeout(ms, fn, ...), move_on(ms, fn, ...), shield([ms,] fn, ...), until_stop(fn, ...): upvalue 1
 * tells them apart. */
static int scoped(lua_State *L)
{
    int kind = (int) lua_tointeger(L, lua_upvalueindex(1));
    if (kind == UNTIL_STOP)
        luaL_checktype(L, 1, LUA_TFUNCTION);
    if (kind == UNTIL_STOP || (kind == SHIELD && lua_isfunction(L, 1))) {
        lua_pushinteger(L, PERI_CLEANUP_MS);
        lua_insert(L, 1);
    }
    lua_Number ms = luaL_checknumber(L, 1);
    luaL_argcheck(L, ms >= 0 && ms < 1e12, 1, "milliseconds, 0 or more, expected");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct peri_vm *vm = peri_vm_of(L);
    struct peri_task *task = peri_task_current(L);
    if (task == NULL)
        return luaL_error(L, "a scope needs a task: handlers run in one, a loading app does not");

    struct call_scope *call = lua_newuserdatauv(L, sizeof(*call), 0);
    struct peri_timed_scope *timed = &call->timed;
    memset(call, 0, sizeof(*call));
    peri_list_init(&call->until.link);
    peri_list_init(&timed->opened.scope.link);
    timed->timers = vm->timers;
    timed->ms = (uint64_t) ceil(ms);
    timed->timer.fire = on_deadline;
    timed->opened.scope.kind = PERI_SCOPE_TIMED;
    timed->opened.scope.shield = kind == SHIELD;
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_setmetatable(L, -2);
    lua_replace(L, AT_SCOPE);
    lua_pushcfunction(L, peri_protect_keep);
    lua_insert(L, AT_KEEP);
    lua_toclose(L, AT_SCOPE);

    lua_KContext unwinding = peri_protect_begin(L);
    uv_update_time(vm->tasks.loop); /* the task may have computed since the loop looked */
    peri_task_enter(L, task, &timed->opened);
    bound(vm, call, kind);
    int status =
        lua_pcallk(L, lua_gettop(L) - AT_FUNCTION, LUA_MULTRET, AT_KEEP, unwinding, scoped_end);
    return scoped_end(L, status, unwinding);
}

bool peri_opens_scope(lua_CFunction function)
{
    return function == scoped || function == peri_group_run;
}

/* --- the running task --------------------------------------------------------------------------
 */

/* cancelled(): why the running code is to end, or false. */
static int task_cancelled(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    if (task == NULL || peri_task_cancelled(task) == NULL)
        lua_pushboolean(L, 0);
    else
        lua_pushstring(L, peri_task_cancelled(task));
    return 1;
}

/* stopping(): whether this version of the app is to stop. */
static int task_stopping(lua_State *L)
{
    lua_pushboolean(L, peri_vm_of(L)->background.stopping);
    return 1;
}

/* current(): something that is equal for the same task only; nil outside of tasks. */
static int task_current(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    if (task == NULL)
        lua_pushnil(L);
    else
        lua_pushlightuserdata(L, task);
    return 1;
}

/* check(): raises where a wait would raise. */
static int task_check(lua_State *L)
{
    peri_task_check(L);
    return 0;
}

static int locals_index(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    lua_settop(L, 2);
    if (task == NULL)
        lua_pushnil(L);
    else
        peri_locals_get(L, task);
    return 1;
}

static int locals_newindex(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    if (task == NULL)
        return luaL_error(L, "task.locals: no task is running that the value could belong to");
    if (lua_isnil(L, 2))
        return luaL_error(L, "task.locals: the name is nil");
    lua_settop(L, 3);
    peri_locals_set(L, task);
    return 0;
}

static int locals_pairs(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    lua_getglobal(L, "next");
    if (task == NULL)
        lua_newtable(L);
    else
        peri_locals_push(L, task);
    return 2;
}

static const luaL_Reg locals_metamethods[] = {
    {"__index", locals_index},
    {"__newindex", locals_newindex},
    {"__pairs", locals_pairs},
    {NULL, NULL},
};

/* --- for message handlers in Lua, and for tests ------------------------------------------------
 */

/* unwinds(err): notes that an error is on its way. Returns the frames that it had in the task that
 * raised it, or nil. */
static int task_unwinds(lua_State *L)
{
    bool here = false;
    luaL_checkany(L, 1);
    peri_protect_note(L);
    if (!peri_protect_frames(L, 1, &here) || here)
        lua_pushnil(L);
    return 1;
}

/* blame(err): the error as peri_protect_blame() leaves it. */
static int task_blame(lua_State *L)
{
    lua_settop(L, 1);
    peri_protect_blame(L);
    return 1;
}

/* resumes(): how often Lua was entered. Requests that are refused in C do not count. */
static int task_resumes(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer) peri_vm_of(L)->tasks.resumes);
    return 1;
}

/* alive(): how many tasks have not ended. */
static int task_alive(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer) peri_vm_of(L)->tasks.alive);
    return 1;
}

/* overruns(): how many slices of this VM took more than 10 ms. */
static int task_overruns(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer) peri_vm_of(L)->tasks.overruns);
    return 1;
}

static const luaL_Reg task_functions[] = {
    {"alive", task_alive},         {"blame", task_blame},
    {"cancelled", task_cancelled}, {"check", task_check},
    {"current", task_current},     {"overruns", task_overruns},
    {"resumes", task_resumes},     {"stopping", task_stopping},
    {"unwinds", task_unwinds},     {NULL, NULL},
};

int peri_open_task(lua_State *L)
{
    luaL_newlib(L, task_functions);
    static const char *const names[] = {"timeout", "move_on", "shield", "until_stop"};
    luaL_newmetatable(L, SCOPE_TYPE);
    lua_pushcfunction(L, scope_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, scope_close);
    lua_setfield(L, -2, "__gc");
    for (int kind = TIMEOUT; kind <= UNTIL_STOP; kind++) {
        lua_pushinteger(L, kind);
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, scoped, 2);
        lua_setfield(L, -3, names[kind]);
    }
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_newlib(L, locals_metamethods);
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "locals");
    peri_group_open(L);
    peri_sync_open(L);
    return 1;
}
