/* The framework's Lua modules, which stand in the binary as bytecode: to parse their text would
 * take most of the time in which a small app starts. This is the only bytecode that is ever loaded.
 */
#ifndef PERI_FRAMEWORK_H
#define PERI_FRAMEWORK_H

#include <lua.h>
#include <stdbool.h>

/* Pushes the chunk of the module `name` and where it stands ("@perigee/types.lua"), or nothing and
 * returns false when there is no such module. Raises for want of memory. */
bool peri_framework_push(lua_State *L, const char *name);

#endif
