/* coroutine.resume, wrap, yield and close that pass waits of the host up to the scheduler, so that
 * a coroutine made by the app may wait, be interrupted and be cancelled like any other code.
 *
 * A wait is a yield that only the scheduler understands (task.h): whoever resumes such a coroutine
 * yields it on, and resumes again when the task goes on. Until then nobody else may resume it. */
#ifndef PERI_COROUTINE_H
#define PERI_COROUTINE_H

#include <lua.h>

/* Replaces them in the library `coroutine`. */
void peri_coroutine_open(lua_State *L);

/* The coroutine of the app that the coroutine L waits in, by coroutine.resume or what
 * coroutine.wrap made; NULL when it waits by itself. */
lua_State *peri_coroutine_inner(lua_State *L);

#endif
