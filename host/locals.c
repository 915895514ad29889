#include "locals.h"

#include <lauxlib.h>

static const void *key_of(const struct peri_task *task)
{
    return &task->owner;
}

void peri_locals_get(lua_State *L, const struct peri_task *task)
{
    if (!task->has_locals) {
        lua_pop(L, 1);
        lua_pushnil(L);
        return;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, key_of(task));
    lua_insert(L, -2);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

void peri_locals_push(lua_State *L, const struct peri_task *task)
{
    lua_newtable(L);
    if (!task->has_locals)
        return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, key_of(task));
    for (lua_pushnil(L); lua_next(L, -2) != 0;) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    lua_pop(L, 1);
}

void peri_locals_set(lua_State *L, struct peri_task *task)
{
    peri_locals_push(L, task);
    lua_insert(L, -3);
    lua_rawset(L, -3);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key_of(task));
    task->has_locals = true;
}

void peri_locals_inherit(lua_State *L, struct peri_task *task, const struct peri_task *from)
{
    if (from == NULL || !from->has_locals)
        return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, key_of(from));
    lua_rawsetp(L, LUA_REGISTRYINDEX, key_of(task));
    task->has_locals = true;
}

void peri_locals_drop(struct peri_task *task)
{
    lua_State *L = task->L; /* its stack is empty: there is room */
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key_of(task)); /* the key is there: nothing is allocated */
    task->has_locals = false;
}
