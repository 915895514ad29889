/* The framework's Lua modules, which stand in the binary: compiled by the first VM that wants one,
 * for the whole process. Every further VM (each loop, each worker, each version of the app after a
 * change) takes the compiled form, which costs a twentieth. This is the only bytecode that is ever
 * loaded, and it never leaves the process's memory. */
#ifndef PERI_FRAMEWORK_H
#define PERI_FRAMEWORK_H

#include <lua.h>
#include <stdbool.h>

/* Pushes the chunk of the module `name` and where it stands ("@perigee/types.lua"), or nothing and
 * returns false when there is no such module. Raises for want of memory. */
bool peri_framework_push(lua_State *L, const char *name);

#endif
