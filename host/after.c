#include "after.h"

#include "exchange.h"
#include "log.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

/* Functions that run once the answer is out, one after the other, in a task of their own. */
struct peri_after {
    struct peri_vm *vm;
    struct peri_form *form;        /* its files are theirs, too */
    int functions;                 /* registry reference of an array */
    char request[PERI_REQUEST_ID]; /* its id, for the log */
};

static void log_failure(const struct peri_after *after, const char *text)
{
    peri_log_error("a function behind an answer failed (request %s): %s", after->request,
                   text != NULL ? text : "without a message");
}

/* Runs the functions from number `next` on; the one before it has ended with `status`. */
static int after_next(lua_State *L, int status, lua_KContext next)
{
    const struct peri_after *after = lua_touserdata(L, 1);
    for (;;) {
        if (status != LUA_OK && status != LUA_YIELD) {
            log_failure(after, luaL_tolstring(L, -1, NULL));
            if (peri_task_cancelled(peri_task_current(L)) != NULL)
                return 0; /* so are the others */
        }
        lua_settop(L, 3);
        if (lua_rawgeti(L, 3, (lua_Integer) next) != LUA_TFUNCTION)
            return 0;
        next++;
        status = lua_pcallk(L, 0, 0, 2, next, after_next);
    }
}

static int after_main(lua_State *L)
{
    struct peri_after *after = lua_touserdata(L, 1);
    peri_task_current(L)->work = &after->vm->app.after_work;
    lua_settop(L, 1);
    lua_pushcfunction(L, peri_traceback);
    lua_rawgeti(L, LUA_REGISTRYINDEX, after->functions);
    return after_next(L, LUA_OK, 1);
}

static void on_after_ended(struct peri_task *task, void *owner, bool failed)
{
    struct peri_after *after = owner;
    if (failed)
        log_failure(after, peri_task_error(task));
    luaL_unref(after->vm->L, LUA_REGISTRYINDEX, after->functions);
    peri_form_free(after->form);
    free(after);
}

const char *peri_after_request(const struct peri_task *task)
{
    return task->ended == on_after_ended ? ((const struct peri_after *) task->owner)->request
                                         : NULL;
}

struct peri_after *peri_after_take(struct peri_exchange *exchange)
{
    if (exchange->after == 0)
        return NULL;
    struct peri_after *after = malloc(sizeof(*after));
    if (after == NULL) {
        fputs("perigee: out of memory (a task)\n", stderr);
        abort();
    }
    *after = (struct peri_after){
        .vm = exchange->vm, .form = exchange->form, .functions = exchange->after};
    peri_exchange_id(exchange, after->request);
    exchange->form = NULL;
    exchange->after = 0;
    return after;
}

void peri_after_start(struct peri_after *after)
{
    if (after != NULL)
        peri_task_start(&after->vm->tasks, after_main, after, on_after_ended);
}
