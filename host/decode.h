/* Bodies in formats that the app has decoders for (app:decoder): what comes before validation.
 *
 * A decoder is Lua and makes a value of bytes; the value is written as JSON, and that is validated
 * like any other body. So declared types, their errors and their order are the same for every
 * format, and JSON itself pays nothing for it. */
#ifndef PERI_DECODE_H
#define PERI_DECODE_H

#include <lua.h>
#include <stdbool.h>

struct peri_exchange;

/* Whether the whole body of a request is of a type that its operation has a decoder for. */
bool peri_decode_is_due(const struct peri_exchange *exchange);

/* Decodes it, in the exchange's task, into scratch->decoded. The decoder cannot wait. Returns false
 * when it is no such text: 400 has been answered. */
bool peri_decode_body(lua_State *L, struct peri_exchange *exchange);

#endif
