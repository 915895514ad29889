#include "background.h"

#include "api/api.h"
#include "log.h"
#include "scope.h"
#include "vm.h"

#include <lauxlib.h>

void peri_background_init(struct peri_background *background)
{
    *background = (struct peri_background){0};
    peri_list_init(&background->scopes);
}

static int background_end(lua_State *L, int status, lua_KContext context)
{
    (void) context;
    if (status != LUA_OK && status != LUA_YIELD && !peri_is_cancelled(L, -1))
        peri_log_error("the schedules of the app have ended: %s", luaL_tolstring(L, -1, NULL));
    return 0;
}

static int background_main(lua_State *L)
{
    struct peri_vm *vm = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_pushcfunction(L, peri_traceback);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->app.background);
    return background_end(L, lua_pcallk(L, 0, 0, 1, 0, background_end), 0);
}

static void on_ended(struct peri_task *task, void *owner, bool failed)
{
    struct peri_vm *vm = owner;
    vm->background.task = NULL;
    if (failed)
        peri_log_error("the schedules of the app have ended: %s", lua_tostring(task->L, -1));
}

void peri_background_start(struct peri_vm *vm)
{
    if (vm->app.background == LUA_NOREF || vm->background.started)
        return;
    vm->background.started = true;
    vm->background.task = peri_task_start(&vm->tasks, background_main, vm, on_ended);
}

static void tell(struct peri_until_stop *until)
{
    peri_scope_cancel(until->scope, "this version of the app is to stop");
}

void peri_background_stop(struct peri_vm *vm)
{
    vm->background.stopping = true;
    struct peri_list *link;
    while ((link = peri_list_pop(&vm->background.scopes)) != NULL)
        tell(peri_container_of(link, struct peri_until_stop, link));
}

void peri_background_add(struct peri_vm *vm, struct peri_until_stop *until,
                         struct peri_scope *scope)
{
    until->scope = scope;
    peri_list_append(&vm->background.scopes, &until->link);
    if (vm->background.stopping)
        peri_background_stop(vm);
}
