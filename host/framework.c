#include "framework.h"

#include "embed.h"

#include <lauxlib.h>
#include <string.h>

bool peri_framework_push(lua_State *L, const char *name)
{
    for (size_t i = 0; i < peri_compiled_count; i++) {
        const struct peri_embedded *module = &peri_compiled[i];
        if (strcmp(module->name, name) != 0)
            continue;
        if (luaL_loadbufferx(L, (const char *) module->bytes, module->len, module->chunkname,
                             "b") != LUA_OK)
            lua_error(L);
        lua_pushstring(L, module->chunkname);
        return true;
    }
    return false;
}
