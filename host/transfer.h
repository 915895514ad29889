/* Lua values on their way from one VM to another: one deep copy through a buffer, so that no
 * lua_State is ever touched by two threads. The sender writes in its own task, the bytes travel,
 * the receiver reads in its own task.
 *
 * What crosses: nil, booleans, integers, floats, strings, json.null, dates and times, and tables of
 * these, with cycles and shared references. A metatable crosses when it is one of ours, known in
 * both VMs: json.array and json.object, responses, HTTP errors, refused input, errors of the host,
 * cancellation, a request's headers, and the mark of a model's value (its set fields and the order
 * of its members; functions that compute members stay behind). Everything else cannot, and says
 * where it stands: "items[3].callback is a function". */
#ifndef PERI_TRANSFER_H
#define PERI_TRANSFER_H

#include "buf.h"

#include <lua.h>

/* How deep tables may be nested. */
#define PERI_TRANSFER_DEPTH 200

/* Appends the `count` values from stack index `first` on. `what` names one of them in messages
 * ("argument", "result"). Returns 0, or -1 with a message pushed and `out` as before. May raise for
 * want of memory. */
int peri_transfer_write(lua_State *L, int first, int count, const char *what, struct peri_buf *out);

/* Pushes the values that stand in `bytes` and returns how many. May raise for want of memory; the
 * bytes are trusted, as another VM of this process wrote them. */
int peri_transfer_read(lua_State *L, const char *bytes, size_t len);

#endif
