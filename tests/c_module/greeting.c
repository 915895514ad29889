/* A C module as LuaRocks installs them: linked against nothing, it finds Lua in the binary. */
#include <lauxlib.h>
#include <lua.h>

static int greeting_hello(lua_State *L)
{
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    luaL_addstring(&text, "hello from C to ");
    luaL_addstring(&text, luaL_checkstring(L, 1));
    luaL_pushresult(&text);
    return 1;
}

int luaopen_greeting(lua_State *L)
{
    static const luaL_Reg functions[] = {{"hello", greeting_hello}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
