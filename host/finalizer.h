/* Finalizers written in Lua. The collector calls them with hooks off in the coroutine that it
 * happened to interrupt, so that nothing could end one that does not end by itself. Therefore
 * setmetatable, otherwise as in the manual, wraps a `__gc` that is Lua: it runs in a coroutine of
 * its own, for 10 ms at most, and what goes wrong in it is logged. It cannot wait. */
#ifndef PERI_FINALIZER_H
#define PERI_FINALIZER_H

#include <lua.h>

/* Replaces the global setmetatable. */
void peri_finalizer_open(lua_State *L);

#endif
