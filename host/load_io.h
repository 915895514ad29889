/* io and os while an app loads: what it reads with io.open and io.lines is the same for all VMs of
 * its generation, and what it writes is noticed; see texts.h. At all other times these functions
 * are Lua's own. */
#ifndef PERI_LOAD_IO_H
#define PERI_LOAD_IO_H

#include <lua.h>

/* Wraps the functions, in a state that has the standard libraries. */
void peri_load_io_open(lua_State *L);

#endif
