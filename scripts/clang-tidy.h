/* Included by `make check` ahead of every file: tells the analyzer which functions never return. */
#include <lauxlib.h>
#include <lua.h>

__attribute__((analyzer_noreturn)) int(lua_error)(lua_State *L);
__attribute__((analyzer_noreturn)) int(luaL_error)(lua_State *L, const char *fmt, ...);
__attribute__((analyzer_noreturn)) int(luaL_argerror)(lua_State *L, int arg, const char *extramsg);
__attribute__((analyzer_noreturn)) int(luaL_typeerror)(lua_State *L, int arg, const char *tname);
