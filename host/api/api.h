/* The C halves of Lua modules. Each file offers one table; api.c puts them together as
 * perigee.host. Everything here runs in Lua's calls: it may raise, and belongs to the VM's thread.
 */
#ifndef PERI_API_H
#define PERI_API_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct peri_exchange;
struct peri_loop;
struct peri_request_box;

/* Opens perigee.host, the table of all modules. */
int luaopen_perigee_host(lua_State *L);

/* Each pushes its module. */
int peri_open_task(lua_State *L);
int peri_open_time(lua_State *L);
int peri_open_response(lua_State *L);
int peri_open_app(lua_State *L);
int peri_open_assets(lua_State *L);
int peri_open_document(lua_State *L);
int peri_open_log(lua_State *L);
int peri_open_fs(lua_State *L);
int peri_open_fs_watch(lua_State *L);
int peri_open_send(lua_State *L);
int peri_open_limit(lua_State *L);
int peri_open_worker(lua_State *L);
int peri_open_net(lua_State *L);
int peri_open_process(lua_State *L);
int peri_open_stream(lua_State *L);
int peri_open_tls(lua_State *L);
int peri_open_client(lua_State *L);
int peri_open_crypto(lua_State *L);
int peri_open_shared(lua_State *L);
int peri_open_console(lua_State *L);
int peri_open_metrics(lua_State *L);
int peri_open_signature(lua_State *L);
int peri_open_compress(lua_State *L);

/* Put groups, channels and semaphores into the module at the top, perigee.host.task. */
void peri_group_open(lua_State *L);
void peri_sync_open(lua_State *L);

/* task.group, and whether a C function is it or another one that opens a scope. */
int peri_group_run(lua_State *L);
bool peri_opens_scope(lua_CFunction function);
int peri_open_test(lua_State *L);

/* Lets perigee.host.test of this VM serve an app in `loop`, which was prepared without one. */
void peri_test_offer(lua_State *L, struct peri_loop *loop);

/* Pushes the request object of an exchange, and the `out` of a streamed answer. Whoever calls keeps
 * it on the stack for as long as the exchange lives, and empties the box then. */
struct peri_request_box *peri_request_push(lua_State *L, struct peri_exchange *exchange);
struct peri_request_box *peri_stream_push(lua_State *L, struct peri_exchange *exchange,
                                          int response);

/* Writes to the `out` at `index` and waits while the client is slow: the last call of a C function
 * or of an op's `finish`. Raises when the connection is gone. */
int peri_out_send(lua_State *L, int index, const char *bytes, size_t len);

/* set_state(table): what `req.state` of every later request of this VM shows, until it sets its
 * own. */
int peri_request_set_state(lua_State *L);

/* Takes the value on top of the stack and keeps it under a name, which ends with a NUL, in the
 * request object at `request`. */
void peri_request_keep(lua_State *L, int request, const char *name, size_t len);

/* Pushes a table of what Lua has assigned to the request object at `index`, `state` included; the
 * dependencies' values and what is beside a plain result stand elsewhere. */
void peri_request_push_assigned(lua_State *L, int index);

/* Takes what was put on `req.response` of the request object at `index`: pushes it and returns
 * true, or pushes nothing. */
bool peri_request_take_response(lua_State *L, int index);

/* The exchange of the request object at `index`; NULL when it is none, or has ended. */
struct peri_exchange *peri_request_exchange(lua_State *L, int index);

/* Makes the table on top what `req.headers` is: names are found in any case. */
void peri_headers_mark(lua_State *L);
bool peri_is_headers(lua_State *L, int index);

/* Pushes the Lua value of an uploaded file: a struct peri_upload of a form. */
void peri_file_push(lua_State *L, void *file);

/* Makes the table on top an explicit response. */
void peri_response_mark(lua_State *L);

/* Pushes the function of this name that the framework (response.lua) put into
 * perigee.host.response. */
void peri_response_push(lua_State *L, const char *name);

/* Calls the function of this name that the framework (response.lua) put into perigee.host.response.
 */
void peri_response_call(lua_State *L, const char *name, int arguments, int results);

/* Whether the value is an explicit response, an HTTP error, or the error of invalid input, of the
 * framework's. */
bool peri_is_response(lua_State *L, int index);
bool peri_is_http_error(lua_State *L, int index);
bool peri_is_validation_error(lua_State *L, int index);

#endif
