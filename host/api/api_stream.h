/* The Lua object of a byte stream (host/stream.h): a box that owns one. Shared by the modules that
 * make streams: net, process. */
#ifndef PERI_API_STREAM_H
#define PERI_API_STREAM_H

#include "stream.h"

#include <lua.h>

struct peri_stream_box {
    struct peri_stream *stream; /* NULL once it is closed */
    uint64_t timeout_ms;        /* of each wait; 0: none */
};

/* Pushes an empty box, to be filled before a script sees it. */
struct peri_stream_box *peri_stream_box_push(lua_State *L);

/* The box at `index`, which may be closed; raises when it is none. */
struct peri_stream_box *peri_stream_box_check(lua_State *L, int index);

/* Pushes {host =, port =} or {path =}; returns 1. */
int peri_address_push(lua_State *L, const struct sockaddr *address, size_t len);

#endif
