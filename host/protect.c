#include "protect.h"

#include "api/api.h"
#include "task.h"
#include "vm.h"

#include <lauxlib.h>
#include <string.h>

#define FRAMEWORK "perigee/" /* the names of its chunks, and of nobody else's */
#define HANDLER 2            /* where the frame of xpcall has its message handler, as a local */
#define HANDLER_FRAMES 1000  /* that are looked at for an xpcall */
#define MAX_LEVELS 100       /* of the framework's, between the app and a C function */

static const char kept_key; /* in the registry: { error, frames, coroutine } */

enum { ERROR = 1, FRAMES, COROUTINE };

bool peri_protect_begin(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    return task != NULL && task->unwinding;
}

void peri_protect_end(lua_State *L, bool unwinding)
{
    struct peri_task *task = peri_task_current(L);
    if (task != NULL)
        task->unwinding = unwinding;
}

void peri_protect_note(lua_State *L)
{
    struct peri_task *task = peri_task_current(L);
    if (task != NULL)
        task->unwinding = true;
}

/* --- whose mistake it is ------------------------------------------------------------------------
 */

/* "perigee/shared.lua:19: bad argument #1 to 'get' (...)": what follows the place; NULL for any
 * other text. */
static const char *passed_on(const char *text)
{
    if (strncmp(text, FRAMEWORK, sizeof(FRAMEWORK) - 1) != 0)
        return NULL;
    const char *line = strstr(text, ".lua:");
    if (line == NULL)
        return NULL;
    const char *behind = line + 5 + strspn(line + 5, "0123456789");
    return strncmp(behind, ": bad argument #", 16) == 0 ? behind : NULL;
}

void peri_protect_blame(lua_State *L)
{
    const char *reason = lua_type(L, 1) == LUA_TSTRING ? passed_on(lua_tostring(L, 1)) : NULL;
    lua_Debug frame;
    for (int level = 1; reason != NULL && level < MAX_LEVELS && lua_getstack(L, level, &frame);
         level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.currentline <= 0 || strncmp(frame.source, "@" FRAMEWORK, sizeof(FRAMEWORK)) == 0)
            continue;
        lua_pushfstring(L, "%s:%d%s", frame.short_src, frame.currentline, reason);
        lua_replace(L, 1);
        return;
    }
}

/* --- frames ------------------------------------------------------------------------------------
 */

bool peri_protect_frames(lua_State *L, int index, bool *here)
{
    if (!peri_vm_of(L)->tasks.keeps_frames)
        return false;
    index = lua_absindex(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
    lua_rawgeti(L, -1, ERROR);
    bool same = lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    if (!same) {
        lua_pop(L, 1);
        return false;
    }
    lua_rawgeti(L, -1, COROUTINE);
    *here = lua_touserdata(L, -1) == L;
    lua_pop(L, 1);
    lua_rawgeti(L, -1, FRAMES);
    lua_remove(L, -2);
    return true;
}

void peri_protect_set_frames(lua_State *L, int index, bool here)
{
    index = lua_absindex(L, index);
    lua_createtable(L, 3, 0);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, ERROR);
    lua_insert(L, -2);
    lua_rawseti(L, -2, FRAMES);
    lua_pushlightuserdata(L, here ? L : NULL);
    lua_rawseti(L, -2, COROUTINE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_key);
    peri_vm_of(L)->tasks.keeps_frames = true;
}

/* The error was caught: another one with the same text may come from anywhere. */
static void forget_frames(lua_State *L)
{
    struct peri_tasks *tasks = &peri_vm_of(L)->tasks;
    if (!tasks->keeps_frames)
        return;
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_key);
    tasks->keeps_frames = false;
}

int peri_protect_keep(lua_State *L)
{
    peri_protect_note(L);
    if (peri_is_http_error(L, 1) || peri_is_cancelled(L, 1) || peri_is_validation_error(L, 1))
        return 1;
    lua_settop(L, 1);
    peri_protect_blame(L);
    peri_push_frames(L, 1);
    peri_protect_set_frames(L, 1, true);
    return 1;
}

/* --- pcall and xpcall --------------------------------------------------------------------------
 */

static int note(lua_State *L)
{
    peri_protect_note(L);
    peri_protect_blame(L);
    return 1;
}

/* Below the results stand `true` and whatever the flavour needs, `below` values in all. */
static int answer(lua_State *L, int status, bool unwinding, int below)
{
    peri_protect_end(L, unwinding);
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - below;
    forget_frames(L);
    if (!peri_task_may_catch(L)) {
        peri_protect_mute(L, 1); /* it would begin all over, and so would the ones around it */
        return lua_error(L);
    }
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int pcall_end(lua_State *L, int status, lua_KContext unwinding)
{
    return answer(L, status, unwinding != 0, 1);
}

static int protected_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_KContext unwinding = peri_protect_begin(L);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    lua_pushcfunction(L, note);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 1, unwinding, pcall_end);
    return pcall_end(L, status, unwinding);
}

static int xpcall_end(lua_State *L, int status, lua_KContext unwinding)
{
    return answer(L, status, unwinding != 0, 2);
}

/* The message handler is the app's: it is not wrapped, as levels of the stack are counted in it.
 * Cancellation is noted where it is raised. */
static int protected_xpcall(lua_State *L)
{
    luaL_checktype(L, HANDLER, LUA_TFUNCTION);
    lua_KContext unwinding = peri_protect_begin(L);
    int arguments = lua_gettop(L) - 2;
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* function, handler, true, function, arguments */
    int status = lua_pcallk(L, arguments, LUA_MULTRET, HANDLER, unwinding, xpcall_end);
    return xpcall_end(L, status, unwinding);
}

static int pass(lua_State *L)
{
    (void) L;
    return 1;
}

/* Lua walks to each level from the top, and a deep recursion has hundreds of thousands. */
void peri_protect_mute(lua_State *L, int level)
{
    lua_Debug frame;
    for (int last = level + HANDLER_FRAMES; level < last && lua_getstack(L, level, &frame);
         level++) {
        lua_getinfo(L, "f", &frame);
        bool found = lua_tocfunction(L, -1) == protected_xpcall;
        lua_pop(L, 1);
        if (!found)
            continue;
        lua_pushcfunction(L, pass);
        if (lua_setlocal(L, &frame, HANDLER) == NULL)
            lua_pop(L, 1);
        return;
    }
}

void peri_protect_open(lua_State *L)
{
    lua_pushcfunction(L, protected_pcall);
    lua_setglobal(L, "pcall");
    lua_pushcfunction(L, protected_xpcall);
    lua_setglobal(L, "xpcall");
}
