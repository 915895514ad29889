/* Functions of Lua's library whose callbacks may wait and be interrupted, and that may be
 * interrupted themselves: table.sort, insert, remove, move and concat, string.find, match, gmatch,
 * gsub and rep.
 * Lua's own cannot be left, neither while they call back nor while they search, which can take
 * longer than anybody lives.
 *
 * They differ from those in nothing else: what they accept, how they compare and match, in which
 * order, and their errors. What has to survive a wait stands in a userdata on their own stack; they
 * ask a callback through lua_callk, and leave a slice that is over through peri_slice_yield(). */
#ifndef PERI_CALLBACKS_H
#define PERI_CALLBACKS_H

#include "search.h"

#include <lua.h>

/* Replaces them in the libraries of a state. */
void peri_callbacks_open(lua_State *L);

/* For peri_callbacks_open(): with the library on top of the stack. */
void peri_sort_open(lua_State *L);
void peri_shift_open(lua_State *L);
void peri_find_open(lua_State *L);
void peri_gsub_open(lua_State *L);
void peri_rep_open(lua_State *L);
void peri_concat_open(lua_State *L);

/* Puts a function in the place of one of the library on top of the stack, which is its upvalue 1
 * from then on; and calls that one, with all that is on the stack. */
void peri_callbacks_replace(lua_State *L, const char *name, lua_CFunction function);
int peri_callbacks_original(lua_State *L);

/* --- For string.find and its family --- */

/* Searches. Raises what is wrong with the pattern. PERI_FOUND_LATER: the slice is over, the search
 * has been pushed, and `return peri_slice_yield(...)`; the continuation begins with
 * peri_find_take_up(). */
enum peri_found peri_find_next(lua_State *L, struct peri_search *search);

/* Pops what peri_find_next() has pushed. */
void peri_find_take_up(lua_State *L, struct peri_search *search);

/* Capture `index`, from 0; without any captures the first one is the match. NULL: it is the
 * position `*len`. Raises when there is none. */
const char *peri_find_capture(lua_State *L, const struct peri_search *search, unsigned index,
                              size_t *len);

/* Pushes it. */
void peri_find_push_capture(lua_State *L, const struct peri_search *search, unsigned index);

/* Pushes all of them and returns how many. */
int peri_find_push_captures(lua_State *L, const struct peri_search *search);

#endif
