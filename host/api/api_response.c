/* perigee.host.response: the classes by which the host knows explicit responses and HTTP errors.
 * Their constructors and methods are Lua (response.lua, errors.lua); the host reads the fields. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>

static const char RESPONSE_TYPE[] = "perigee.Response";
static const char HTTP_ERROR_TYPE[] = "perigee.HttpError";
static const char VALIDATION_ERROR_TYPE[] = "perigee.ValidationError";

static bool has_metatable(lua_State *L, int index, const char *type)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    lua_getfield(L, LUA_REGISTRYINDEX, type);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* Asked of every result that has a metatable: the metatable is known by its address, for the
 * registry keeps it. */
bool peri_is_response(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    bool same = lua_topointer(L, -1) == peri_vm_of(L)->response_metatable;
    lua_pop(L, 1);
    return same;
}

bool peri_is_http_error(lua_State *L, int index)
{
    return has_metatable(L, index, HTTP_ERROR_TYPE);
}

bool peri_is_validation_error(lua_State *L, int index)
{
    return has_metatable(L, index, VALIDATION_ERROR_TYPE);
}

void peri_response_mark(lua_State *L)
{
    luaL_getmetatable(L, RESPONSE_TYPE);
    lua_setmetatable(L, -2);
}

static const char MODULE[] = "perigee.host.response";

void peri_response_push(lua_State *L, const char *name)
{
    lua_getfield(L, LUA_REGISTRYINDEX, MODULE);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

void peri_response_call(lua_State *L, const char *name, int arguments, int results)
{
    peri_response_push(L, name);
    lua_insert(L, -1 - arguments);
    lua_call(L, arguments, results);
}

/* take(req): what was put on req.response, or nil; it is gone from there. */
static int response_take(lua_State *L)
{
    if (!peri_request_take_response(L, 1))
        lua_pushnil(L);
    return 1;
}

int peri_open_response(lua_State *L)
{
    lua_createtable(L, 0, 8);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, MODULE);
    lua_pushcfunction(L, response_take);
    lua_setfield(L, -2, "take");
    luaL_newmetatable(L, RESPONSE_TYPE);
    peri_vm_of(L)->response_metatable = lua_topointer(L, -1);
    lua_setfield(L, -2, "metatable");
    luaL_newmetatable(L, HTTP_ERROR_TYPE);
    lua_setfield(L, -2, "http_error");
    luaL_newmetatable(L, VALIDATION_ERROR_TYPE);
    lua_setfield(L, -2, "validation_error");
    return 1;
}
