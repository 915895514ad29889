/* TLS sessions as Lua values, for the modules that hold secured streams. */
#ifndef PERI_API_TLS_H
#define PERI_API_TLS_H

#include "tls.h"

#include <lua.h>

/* Pushes the session of a stream, or nil when it has none that can be resumed. */
void peri_session_push(lua_State *L, struct peri_stream *stream);

#endif
