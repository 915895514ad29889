/* Answers to requests for which there is no operation: they need no Lua. */
#ifndef PERI_REFUSAL_H
#define PERI_REFUSAL_H

#include "router.h"

#include <lua.h>

struct peri_exchange;

/* Finds the operation of the exchange, with GET standing in for a HEAD that is not declared by
 * itself. Returns 0, or the status that answers instead: 404, 405, 204 (OPTIONS) or 307 (a slash
 * too much or too little). Path parameters point into `path`. */
uint16_t peri_refusal_or_match(struct peri_exchange *exchange, const char *path, size_t len);

/* Pushes the answer for exchange->refusal as a response, for the app's middleware. */
void peri_refusal_push(lua_State *L, struct peri_exchange *exchange);

/* Sends the answer for exchange->refusal. */
void peri_refusal_send(struct peri_exchange *exchange);

#endif
