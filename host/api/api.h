/* The C halves of Lua modules. Each file offers one table; api.c puts them together as
 * perigee.host. Everything here runs in Lua's calls: it may raise, and belongs to the VM's thread.
 */
#ifndef PERI_API_H
#define PERI_API_H

#include <lua.h>
#include <stdbool.h>

struct peri_exchange;
struct peri_request_box;

/* Opens perigee.host, the table of all modules. */
int luaopen_perigee_host(lua_State *L);

/* Each pushes its module. */
int peri_open_time(lua_State *L);
int peri_open_response(lua_State *L);
int peri_open_schema(lua_State *L);

/* Pushes the request object of an exchange, and the `out` of a streamed answer. Whoever calls keeps
 * it on the stack for as long as the exchange lives, and empties the box then. */
struct peri_request_box *peri_request_push(lua_State *L, struct peri_exchange *exchange);
struct peri_request_box *peri_stream_push(lua_State *L, struct peri_exchange *exchange,
                                          int response);

/* Whether the value is an explicit response, or an HTTP error, of the framework's. */
bool peri_is_response(lua_State *L, int index);
bool peri_is_http_error(lua_State *L, int index);

#endif
