/* What goes from a loop to a worker and back: calls of threaded functions, and requests.
 *
 * A request travels as bytes: its head with the offsets the parser found, its body, its form. On
 * the worker they become a copy of the exchange (its site), in which everything happens that
 * happens on a loop otherwise: the operation is matched in the worker's own VM, inputs are
 * validated and made into Lua values, the handler runs, its result is validated and encoded. There
 * are two kinds:
 *
 *   whole    the handler and everything before it are threaded: Lua does not run on the loop at all
 *   errand   Lua on the loop asks for a part: some dependencies, or the rest with the handler. The
 *            errand is a Lua value, read by operation->hop; what it returns, or raises, goes back
 *
 * What a threaded function raises is raised again where it was called, as the copy of the same
 * value; its traceback is kept for whoever logs the error. */
#ifndef PERI_HOP_H
#define PERI_HOP_H

#include <lua.h>
#include <stdbool.h>

struct peri_answer;
struct peri_config;
struct peri_exchange;
struct peri_hop_site;
struct peri_vm;

/* --- On a loop, in the request's task --- */

/* The body of a whole request's task. */
int peri_hop_whole(lua_State *L, struct peri_exchange *exchange);

/* send(req, errand, final): an errand for the request at index 1. Returns what the worker's
 * function returned; when it is the final one, the response that it came to. */
int peri_hop_send(lua_State *L);

/* --- Calls of threaded functions --- */

/* wrap(fn, index, urgent): registers a threaded function of this VM, and pushes the function that
 * calls it on a worker; on a worker itself, and where there are none, it just calls it. */
int peri_hop_wrap(lua_State *L);

/* wrap_loop(fn, index): registers a function that workers call back, and pushes the function that
 * does so: on a worker it runs `fn` on the loop whose trip that worker runs; on a loop, and where
 * there are no workers, it just calls it. */
int peri_hop_wrap_loop(lua_State *L);

/* Pushes the traceback on the other side of the error at `index`, with the name of that side, if it
 * is the last one that came from there; else pushes nothing and returns false. */
bool peri_hop_push_trace(lua_State *L, int index);

/* --- On a worker --- */

/* The copy of an exchange, used for one request after the other. */
struct peri_hop_site *peri_hop_site_new(struct peri_vm *vm, const struct peri_config *config);
void peri_hop_site_free(struct peri_hop_site *site); /* NULL is fine */

const struct peri_config *peri_hop_config(const struct peri_hop_site *site);

/* The task of the worker's trip has ended: its request object is empty from here on, and what is to
 * run behind the answer no longer needs the trip. */
void peri_hop_ended(struct peri_hop_site *site);

/* The trip is on its way home, with the bytes of the request: what is to run behind it starts. */
void peri_hop_after(struct peri_hop_site *site);

/* For exchange.c: whether this one runs an errand; pushes the function and what it is called with
 * and returns true; reports what it came to and returns true, unless that is an answer as usual. */
bool peri_hop_has_errand(const struct peri_exchange *exchange);
bool peri_hop_push_errand(lua_State *L, struct peri_exchange *exchange);
bool peri_hop_reports(lua_State *L, struct peri_exchange *exchange, bool failed);

/* The result of an errand cannot be sent, for the reason on top: an error for who sent it. */
void peri_hop_fail(lua_State *L, struct peri_exchange *exchange);

/* A message handler that keeps the error as it is, beside its traceback. */
int peri_hop_traceback(lua_State *L);

/* For answer.c: keeps the answer for the loop. Returns as peri_answer_send(). */
int peri_hop_answer(lua_State *L, struct peri_exchange *exchange, const struct peri_answer *answer);

#endif
