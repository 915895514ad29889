/* The body of a request, between the bytes that arrive and whoever wants them.
 *
 * A body that nobody declared is gathered, or handed out in chunks, as the handler asks for it;
 * until then it is held up to a mark and the socket waits. One that is declared is gathered as a
 * whole, or read as a form, and inflated first when it is compressed: all while it arrives. Every
 * function belongs to the exchange's loop thread. */
#ifndef PERI_BODY_H
#define PERI_BODY_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peri_exchange;
struct peri_op;

enum peri_body_mode {
    PERI_BODY_UNCLAIMED, /* nobody asked yet: held up to a mark, then the socket waits */
    PERI_BODY_WHOLE,     /* gathered up to the limit */
    PERI_BODY_CHUNKS,    /* taken piece by piece: held up to a mark */
    PERI_BODY_DROPPED,   /* the answer is out: what still arrives is discarded */
};

/* --- For the exchange --- */

/* The limit for this request's body. */
uint64_t peri_body_max(const struct peri_exchange *exchange);

/* The operation is known: makes ready for a body that it declares. Returns 0 or a status to refuse
 * with. */
int peri_body_expect(struct peri_exchange *exchange);

/* A piece has arrived. Returns 0 or a status to refuse with. */
int peri_body_take(void *exchange, const char *bytes, size_t len);

/* All of a declared body has arrived: whether it is whole, too. Returns 0 or a status. */
int peri_body_end(struct peri_exchange *exchange);

/* Whether a declared body has to be there before anything can start; claims it then. */
bool peri_body_is_needed(struct peri_exchange *exchange);

/* Whether there is room for more; the socket waits otherwise. */
bool peri_body_has_room(const struct peri_exchange *exchange);

/* Wakes the task that waits for what is there now. */
void peri_body_wake(struct peri_exchange *exchange);

/* --- For the Lua side, in the exchange's task --- */

/* The body is complete or, in chunks, some of it has arrived. */
bool peri_body_is_ready(const struct peri_exchange *exchange);

/* Claims the body, and sends 100 Continue when the client waits for that. */
void peri_body_claim(struct peri_exchange *exchange, enum peri_body_mode mode);

/* Waits for peri_body_is_ready(); ends with what `finish` pushes. */
int peri_body_await(lua_State *L, struct peri_exchange *exchange,
                    int (*finish)(lua_State *L, struct peri_op *op));

/* The bytes held are used: forgets them and reads on. */
void peri_body_drop(struct peri_exchange *exchange);

#endif
