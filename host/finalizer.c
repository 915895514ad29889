#include "finalizer.h"

#include "log.h"
#include "slice.h"
#include "vm.h"

#include <lauxlib.h>
#include <string.h>

#define STOP_TICKS 3     /* a call that was met by as many has run for more than 10 ms */
#define ACCOUNT_TICKS 20 /* 100 ms, for all the calls of a function that end by themselves */
#define ACCOUNT_MS 1000
#define MAX_STOPS 20  /* of a function, then it is not called */
#define BRIEF_LOOKS 2 /* of the hook, each after some ten thousand instructions */

/* --- accounts
 * ------------------------------------------------------------------------------------
 */

/* The account of the function in upvalue 1; NULL: it has none. */
static struct peri_finalizer_account *find(lua_State *L, struct peri_finalizers *all)
{
    lua_Debug info;
    uint64_t now = uv_hrtime() / 1000000;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_getinfo(L, ">S", &info);
    for (unsigned i = 0; i < all->account_count;) {
        struct peri_finalizer_account *account = &all->accounts[i];
        if (now >= account->until_ms)
            *account = all->accounts[--all->account_count];
        else if (account->line == info.linedefined && strcmp(account->source, info.short_src) == 0)
            return account;
        else
            i++;
    }
    return all->account_count == PERI_FINALIZER_ACCOUNTS
               ? &all->accounts[PERI_FINALIZER_ACCOUNTS - 1]
               : NULL;
}

static struct peri_finalizer_account *open_account(lua_State *L, struct peri_finalizers *all)
{
    lua_Debug info;
    struct peri_finalizer_account *account = &all->accounts[all->account_count++];
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_getinfo(L, ">S", &info);
    *account = (struct peri_finalizer_account){.line = info.linedefined,
                                               .until_ms = uv_hrtime() / 1000000 + all->account_ms};
    memcpy(account->source, info.short_src, sizeof(account->source));
    return account;
}

/* What the call that has just ended has cost. A worker's time is nobody else's: there only what had
 * to be stopped counts. */
static void charge(lua_State *L, struct peri_finalizers *all,
                   struct peri_finalizer_account *account)
{
    bool stopped = all->state == PERI_FINALIZER_STOPPED;
    unsigned ticks = peri_vm_of(L)->worker == NULL ? peri_watchdog.ticks - all->since : 0;
    if (!stopped && ticks == 0)
        return;
    if (account == NULL)
        account = open_account(L, all);
    account->ticks += ticks;
    account->stops += stopped;
    if (stopped && account->stops == MAX_STOPS)
        peri_log_error("the __gc function at %s:%d is not called for a second: it had to be "
                       "stopped %d times; what it cleans up is left as it is",
                       account->source, account->line, MAX_STOPS);
}

static bool has_had_its_time(const struct peri_finalizer_account *account)
{
    return account != NULL && (account->stops > 0 || account->ticks >= ACCOUNT_TICKS);
}

bool peri_finalizer_must_stop(struct peri_finalizers *all)
{
    bool over =
        all->brief ? ++all->looks >= BRIEF_LOOKS : peri_watchdog.ticks - all->since >= STOP_TICKS;
    if (over)
        all->state = PERI_FINALIZER_STOPPED;
    return over;
}

/* --- calls
 * ---------------------------------------------------------------------------------------
 */

/* Runs the function and its argument that are on the stack of the coroutine. Leaves its error or
 * its only result on `L`; returns whether it failed. */
static bool call(lua_State *L, lua_State *co)
{
    int results = 0;
    int status = lua_resume(co, L, 1, &results);
    bool failed = status != LUA_OK && status != LUA_YIELD;
    if (failed || results == 1)
        lua_xmove(co, L, 1);
    else
        lua_pushnil(L);
    peri_slice_reset(co);
    lua_settop(co, 0);
    return failed;
}

static int describe(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Turns the error on top of `L` into a text, on the time of the same finalizer. */
static void to_text(lua_State *L, lua_State *co)
{
    lua_pushcfunction(co, describe);
    lua_xmove(L, co, 1);
    if (call(L, co)) {
        lua_pop(L, 1);
        lua_pushliteral(L, "its error has no text");
    }
}

/* Runs the coroutine, with the function and the object on its stack. Returns whether it failed;
 * then the error's text is on top of `L`. */
static bool run(lua_State *L, lua_State *co, struct peri_tasks *tasks)
{
    tasks->unyieldable++;
    void *watched = peri_slice_enter(co);
    if (tasks->finalizers.brief)
        peri_slice_look_soon(co);
    bool failed = call(L, co);
    if (failed)
        to_text(L, co);
    peri_slice_leave(co, watched);
    tasks->unyieldable--;
    return failed;
}

/* Runs upvalue 1 for the object at index 1. */
static int finalize(lua_State *L)
{
    struct peri_tasks *tasks = &peri_vm_of(L)->tasks;
    struct peri_finalizers *all = &tasks->finalizers;
    struct peri_finalizer_account *account = all->account_count > 0 ? find(L, all) : NULL;
    if (account != NULL && account->stops >= MAX_STOPS) {
        all->skipped++;
        return 0;
    }
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 2);

    uint8_t outer = all->state;
    all->state = PERI_FINALIZER_RUNS;
    all->brief = has_had_its_time(account);
    all->looks = 0;
    all->since = peri_watchdog.ticks;
    bool failed = run(L, co, tasks);
    bool cut_short = all->brief && all->state == PERI_FINALIZER_STOPPED;
    charge(L, all, account);
    all->state = outer;
    if (failed && !cut_short)
        peri_log_error("a __gc function failed: %s", lua_tostring(L, -1));
    return 0;
}

static int set_metatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) == LUA_TFUNCTION && !lua_iscfunction(L, -1)) {
            lua_pushcclosure(L, finalize, 1);
            lua_pushliteral(L, "__gc");
            lua_insert(L, -2);
            lua_rawset(L, 2);
        }
        lua_settop(L, 2);
    }
    lua_setmetatable(L, 1);
    return 1;
}

void peri_finalizer_open(lua_State *L)
{
    peri_vm_of(L)->tasks.finalizers.account_ms = ACCOUNT_MS;
    lua_pushcfunction(L, set_metatable);
    lua_setglobal(L, "setmetatable");
}
