/* Values that belong to a task and that the tasks it spawns inherit: a request's id, a user, a
 * trace. A child gets them as they are at that moment; what either sets afterwards, the other does
 * not see. So a snapshot is a table that is never changed: children share it, and setting a value
 * makes a new one. Kept in the registry under the address of the task's `owner`. */
#ifndef PERI_LOCALS_H
#define PERI_LOCALS_H

#include "task.h"

/* Pushes the value under the key on top of the stack, which it replaces. */
void peri_locals_get(lua_State *L, const struct peri_task *task);

/* Sets the key below the value on top; pops both. */
void peri_locals_set(lua_State *L, struct peri_task *task);

/* Pushes all of them as a table of its own. */
void peri_locals_push(lua_State *L, const struct peri_task *task);

/* The task begins with what `from` has. */
void peri_locals_inherit(lua_State *L, struct peri_task *task, const struct peri_task *from);

/* The task has ended. Never raises. */
void peri_locals_drop(struct peri_task *task);

#endif
