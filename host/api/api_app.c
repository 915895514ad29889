/* perigee.host.app: what the command line needs of the host. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>

/* find(path): the file of the app at a folder or file; `require` looks beside it from then on. */
static int app_find(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    if (!peri_vm_find_app(L, path)) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    return 1;
}

/* is_first(): false where another VM of the generation speaks of the faults of the app. */
static int app_is_first(lua_State *L)
{
    lua_pushboolean(L, !peri_vm_of(L)->silent);
    return 1;
}

static const luaL_Reg app_functions[] = {
    {"find", app_find},
    {"is_first", app_is_first},
    {NULL, NULL},
};

int peri_open_app(lua_State *L)
{
    luaL_newlib(L, app_functions);
    lua_pushliteral(L, PERIGEE_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
