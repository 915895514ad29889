#include "coroutine.h"

#include "slice.h"
#include "task.h"
#include "vm.h"

#include <lauxlib.h>
#include <lualib.h>

static bool is_wait(lua_State *co, int results)
{
    return results == 1 && lua_touserdata(co, -1) == (void *) peri_task_wait;
}

static int co_continue(lua_State *L, int status, lua_KContext context);
static int co_resume(lua_State *L);

/* Resumes `co` (at index 1 of L) with `arguments` values that are already on its stack. Leaves true
 * and the results, or false and the error, on L; returns how many values these are. It is a
 * protected call, too: `unwinding` is what the task did before. */
static int co_step(lua_State *L, lua_State *co, int arguments, bool unwinding)
{
    /* Lua forgets across lua_resume that L itself may not yield: remembered for peri_op_new(). */
    struct peri_tasks *tasks = &peri_vm_of(L)->tasks;
    bool stuck = !lua_isyieldable(L);
    int results = 0;
    tasks->unyieldable += stuck;
    void *watched = peri_slice_enter(co);
    int status = lua_resume(co, L, arguments, &results);
    peri_slice_leave(co, watched);
    tasks->unyieldable -= stuck;
    if (status == LUA_YIELD && (tasks->interrupted || is_wait(co, results))) {
        lua_pop(co, results);
        lua_pushboolean(L, 1); /* until this wait is over, nobody else may resume it */
        lua_rawsetp(L, LUA_REGISTRYINDEX, co);
        lua_pushlightuserdata(L, (void *) peri_task_wait);
        return lua_yieldk(L, 1, unwinding, co_continue);
    }
    if (tasks->current != NULL)
        tasks->current->unwinding = unwinding;
    if (status == LUA_OK || status == LUA_YIELD) {
        if (!lua_checkstack(L, results + 1)) {
            lua_pop(co, results);
            lua_pushboolean(L, 0);
            lua_pushliteral(L, "too many results to resume");
            return 2;
        }
        lua_pushboolean(L, 1);
        lua_xmove(co, L, results);
        return results + 1;
    }
    lua_xmove(co, L, 1); /* nothing moves when a coroutine resumes itself */
    if (!peri_task_may_catch(L))
        return lua_error(L);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

lua_State *peri_coroutine_inner(lua_State *L)
{
    lua_Debug frame;
    if (!lua_getstack(L, 0, &frame) || !lua_checkstack(L, 2))
        return NULL;
    lua_State *inner = NULL;
    lua_getinfo(L, "f", &frame);
    if (lua_tocfunction(L, -1) == co_resume) {
        lua_getupvalue(L, -1, 1);
        inner = lua_tothread(L, -1);
        lua_pop(L, 1);
        if (inner == NULL && lua_getlocal(L, &frame, 1) != NULL) {
            inner = lua_tothread(L, -1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return inner;
}

/* Runs the `<close>` variables of a coroutine that is over, or of which nothing more is wanted.
 * They cannot wait: Lua 5.4 does not go on with a coroutine that is being closed. */
static int co_reset(lua_State *L, lua_State *co)
{
    struct peri_tasks *tasks = &peri_vm_of(L)->tasks;
    tasks->unyieldable++;
    void *watched = peri_slice_enter(co);
    int status = peri_slice_reset(co);
    peri_slice_leave(co, watched);
    tasks->unyieldable--;
    return status;
}

/* The wrap flavour raises what the resume flavour returns; lua_upvalueindex(1) tells them apart. */
static int co_answer(lua_State *L, int count)
{
    if (!lua_isthread(L, lua_upvalueindex(1)))
        return count;
    if (lua_toboolean(L, -count))
        return count - 1;
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) { /* died: run its <close> variables */
        lua_xmove(L, co, 1);
        co_reset(L, co);
        lua_xmove(co, L, 1);
    }
    struct peri_task *task = peri_task_current(L);
    if (task != NULL && peri_is_cancelled(L, -1))
        task->unwinding = true;
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static lua_State *co_of(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    if (co == NULL)
        co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "coroutine");
    return co;
}

static int co_continue(lua_State *L, int status, lua_KContext context)
{
    (void) status;
    lua_State *co = co_of(L);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, co);
    return co_answer(L, co_step(L, co, 0, context != 0));
}

static int co_resume(lua_State *L)
{
    lua_State *co = co_of(L);
    int first = lua_isthread(L, lua_upvalueindex(1)) ? 1 : 2;
    int arguments = lua_gettop(L) - first + 1;
    const char *fault = NULL;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, co) != LUA_TNIL)
        fault = "cannot resume non-suspended coroutine"; /* another task waits in it */
    else if (!lua_checkstack(co, arguments))
        fault = "too many arguments to resume";
    lua_pop(L, 1);
    if (fault != NULL) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, fault);
        return co_answer(L, 2);
    }
    lua_xmove(L, co, arguments);
    struct peri_task *task = peri_task_current(L);
    return co_answer(L, co_step(L, co, arguments, task != NULL && task->unwinding));
}

static int co_close(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "coroutine");
    lua_Debug frame;
    int status = lua_status(co);
    bool normal = status == LUA_OK && lua_getstack(co, 0, &frame);
    if (co == L || normal)
        return luaL_error(L, "cannot close a %s coroutine", co == L ? "running" : "normal");
    if (co_reset(L, co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_xmove(co, L, 1);
    if (!peri_task_may_catch(L))
        return lua_error(L);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int co_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, co_resume, 1);
    return 1;
}

/* A coroutine of the app does not leave a group or a timeout that it has opened half way: who
 * resumes it next may be in other scopes. The task's own coroutine may; its yields stay within the
 * task. */
static int co_yield (lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    if (task != NULL && L != task->L && task->scope->kind != PERI_SCOPE_TASK &&
        peri_container_of(task->scope, struct peri_opened_scope, scope)->L == L)
        return luaL_error(L, "coroutine.yield: this coroutine is inside a task.group, a timeout or "
                             "a shield of its own; it may yield before and after it");
    return lua_yield(L, lua_gettop(L));
}

void peri_coroutine_open(lua_State *L)
{
    lua_getglobal(L, LUA_COLIBNAME);
    lua_pushcfunction(L, co_yield );
    lua_setfield(L, -2, "yield");
    lua_pushboolean(L, 0); /* no thread as upvalue: the resume flavour */
    lua_pushcclosure(L, co_resume, 1);
    lua_setfield(L, -2, "resume");
    lua_pushcfunction(L, co_wrap);
    lua_setfield(L, -2, "wrap");
    lua_pushcfunction(L, co_close);
    lua_setfield(L, -2, "close");
    lua_pop(L, 1);
}
