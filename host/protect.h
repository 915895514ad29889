/* Protected calls, as far as tasks care: pcall and xpcall of the app, and where errors came from.
 *
 * While an error unwinds the stack to the next protected call, `<close>` variables run, and they
 * may wait although the task is cancelled (task.h). So each protected call notes the error with
 * `unwinding`, and puts it back to what it was when it has caught it.
 *
 * An error that leaves the coroutine in which it was raised (from a child to its group) or is
 * raised anew (by a scope, behind its end) would lose its traceback. The frames of the last such
 * error are kept beside it, and peri_traceback() puts them into the log. */
#ifndef PERI_PROTECT_H
#define PERI_PROTECT_H

#include <lua.h>
#include <stdbool.h>

/* Replaces the globals pcall and xpcall: they differ from the originals in `unwinding`, and in that
 * they do not catch the error of a task that is being ended for good. */
void peri_protect_open(lua_State *L);

/* Whether the running task unwinds; for what makes protected calls in C: to be put back by
 * peri_protect_end() when the call is over. */
bool peri_protect_begin(lua_State *L);
void peri_protect_end(lua_State *L, bool unwinding);

/* A message handler: notes the error, and keeps its frames unless it is an answer by itself. */
int peri_protect_keep(lua_State *L);

/* Notes that an error is on its way; for other message handlers. */
void peri_protect_note(lua_State *L);

/* The first step of a message handler, with the error at index 1: an argument that a function of
 * the framework only passed on is the mistake of who gave it, so the error names the line of the
 * app.
 */
void peri_protect_blame(lua_State *L);

/* Pushes the frames kept for the error at `index` and returns true, `*here` when they are those of
 * the running coroutine; or pushes nothing. */
bool peri_protect_frames(lua_State *L, int index, bool *here);

/* Keeps the text on top (which is popped) as the frames of the error at `index`; `here` when they
 * are those of the running coroutine. */
void peri_protect_set_frames(lua_State *L, int index, bool here);

/* The message handler of the innermost xpcall, from this level of the stack on, is not to hear of
 * an error that is about to be raised: what a hook raises would run it without hooks, so that
 * nothing could interrupt it, and a task that is being ended has nothing to handle. Far down in the
 * stack it does hear. */
void peri_protect_mute(lua_State *L, int level);

#endif
