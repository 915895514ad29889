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

/* Decodes it, validates what came of it and runs the handler; `return peri_decode_handle(L,
 * exchange);` as the body of the exchange's task. The decoder is interrupted like any handler. What
 * it does not understand is answered with 400. */
int peri_decode_handle(lua_State *L, struct peri_exchange *exchange);

#endif
