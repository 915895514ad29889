/* perigee.host.app: what the command line needs of the host. */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>
#include <stdatomic.h>

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

/* is_first(): true in the VM that asks first. All of them load the same app; one speaks of its
 * faults. */
static int app_is_first(lua_State *L)
{
    static atomic_flag asked = ATOMIC_FLAG_INIT;
    lua_pushboolean(L, !atomic_flag_test_and_set(&asked));
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
