#include "after.h"

#include "exchange.h"
#include "log.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

/* Functions that run once the answer is out, one after the other, in a task of their own. */
struct after {
    struct peri_vm *vm;
    struct peri_form *form; /* its files are theirs, too */
    int functions;          /* registry reference of an array */
};

static int after_next(lua_State *L, int status, lua_KContext next)
{
    if (status != LUA_OK && status != LUA_YIELD && !peri_is_cancelled(L, -1))
        peri_log_error("a function behind an answer failed: %s", luaL_tolstring(L, -1, NULL));
    lua_settop(L, 2);
    while (lua_rawgeti(L, 2, (lua_Integer) next) == LUA_TFUNCTION) {
        next++;
        status = lua_pcallk(L, 0, 0, 1, next, after_next);
        if (status != LUA_OK && !peri_is_cancelled(L, -1))
            peri_log_error("a function behind an answer failed: %s", luaL_tolstring(L, -1, NULL));
        lua_settop(L, 2);
    }
    return 0;
}

static int after_main(lua_State *L)
{
    struct after *after = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_pushcfunction(L, peri_traceback);
    lua_rawgeti(L, LUA_REGISTRYINDEX, after->functions);
    return after_next(L, LUA_OK, 1);
}

static void on_after_ended(struct peri_task *task, void *owner, bool failed)
{
    struct after *after = owner;
    if (failed)
        peri_log_error("the functions behind an answer failed: %s", lua_tostring(task->L, -1));
    luaL_unref(after->vm->L, LUA_REGISTRYINDEX, after->functions);
    peri_form_free(after->form);
    free(after);
}

void peri_after_start(struct peri_exchange *exchange)
{
    struct after *after = malloc(sizeof(*after));
    if (after == NULL) {
        fputs("perigee: out of memory (a task)\n", stderr);
        abort();
    }
    *after = (struct after){exchange->vm, exchange->form, exchange->after};
    exchange->form = NULL;
    exchange->after = 0;
    peri_task_start(&exchange->vm->tasks, after_main, after, on_after_ended);
}
