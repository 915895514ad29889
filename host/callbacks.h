/* Functions of Lua's library that call back into Lua, such that what they call may wait and be
 * interrupted: table.sort with a comparator, string.gsub with a function or with a table that has
 * __index. Lua's own cannot be left while they do. Without a callback the originals run.
 *
 * They differ from those in nothing else: what they accept, how they compare and match, in which
 * order, and their errors. Each keeps its state in a userdata on its own stack, and asks its
 * callback through lua_callk. */
#ifndef PERI_CALLBACKS_H
#define PERI_CALLBACKS_H

#include <lua.h>

/* Replaces them in the libraries of a state. */
void peri_callbacks_open(lua_State *L);

/* For peri_callbacks_open(): with the library on top of the stack. */
void peri_sort_open(lua_State *L);
void peri_gsub_open(lua_State *L);

#endif
