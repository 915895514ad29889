/* perigee.host.response: the classes by which the host knows explicit responses and HTTP errors.
 * Their constructors and methods are Lua (response.lua, errors.lua); the host reads the fields. */
#include "api.h"

#include <lauxlib.h>

static const char RESPONSE_TYPE[] = "perigee.Response";
static const char HTTP_ERROR_TYPE[] = "perigee.HttpError";

static bool has_metatable(lua_State *L, int index, const char *type)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    lua_getfield(L, LUA_REGISTRYINDEX, type);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

bool peri_is_response(lua_State *L, int index)
{
    return has_metatable(L, index, RESPONSE_TYPE);
}

bool peri_is_http_error(lua_State *L, int index)
{
    return has_metatable(L, index, HTTP_ERROR_TYPE);
}

int peri_open_response(lua_State *L)
{
    lua_createtable(L, 0, 2);
    luaL_newmetatable(L, RESPONSE_TYPE);
    lua_setfield(L, -2, "metatable");
    luaL_newmetatable(L, HTTP_ERROR_TYPE);
    lua_setfield(L, -2, "http_error");
    return 1;
}
