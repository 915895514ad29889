/* One lua_State with its libraries, its scheduler and the app it loaded. Belongs to one thread.
 *
 * Lua runs text only: bytecode is refused by load, loadfile, dofile, require and for the app
 * itself, because crafted bytecode can corrupt memory. */
#ifndef PERI_VM_H
#define PERI_VM_H

#include "app.h"
#include "heap.h"
#include "task.h"
#include "timer.h"

#include <lua.h>

struct peri_vm {
    lua_State *L;
    struct peri_tasks tasks;
    struct peri_timers *timers; /* the loop's */
    struct peri_app app;        /* valid after peri_vm_load() */
    struct peri_heap heap;      /* its memory */
};

/* The VM of a Lua state or coroutine. */
static inline struct peri_vm *peri_vm_of(lua_State *L)
{
    return *(struct peri_vm **) lua_getextraspace(L);
}

/* Opens a VM whose tasks run on `loop` and whose waits use `timers`. Returns 0 or a UV_E* code. */
int peri_vm_open(struct peri_vm *vm, uv_loop_t *loop, struct peri_timers *timers);

/* Loads the app that the config names (a folder with app.lua, or a Lua file) into vm->app. Returns
 * 0; UV_ENOENT (there is no such app) or UV_EINVAL (it does not load) with the reason in `error`,
 * which the caller frees with peri_buf_deinit(). */
int peri_vm_load(struct peri_vm *vm, const struct peri_config *config, struct peri_buf *error);

/* Finds the app at `path`, a folder with app.lua or a Lua file: pushes its file and makes `require`
 * look in its folder first. Returns false with a message pushed when there is none. May raise. */
bool peri_vm_find_app(lua_State *L, const char *path);

/* Runs the function at a registry reference in a task and the loop until it has ended, waits
 * included; for what comes before the first request and after the last one. After `timeout_ms` (0:
 * never) the task is cancelled. Returns 0 and, in *result (may be NULL), the integer it returned;
 * or -1 with the error appended. */
int peri_vm_call(struct peri_vm *vm, int function, uint64_t timeout_ms, lua_Integer *result,
                 struct peri_buf *error);

/* Closes the state. Its handles belong to the loop until they have closed, and so does `vm`. */
void peri_vm_close(struct peri_vm *vm);

/* A message handler for lua_pcall: turns every error into text with a traceback, but for those that
 * are answers by themselves (HTTP errors, invalid input) and cancellation. */
int peri_traceback(lua_State *L);

/* Pushes the frames of the running coroutine, one a line, below those that were kept for the error
 * at `index` (protect.h). For message handlers. */
void peri_push_frames(lua_State *L, int index);

/* Pushes nil and an error table {code = "ENOENT", message = ...} for a UV_E* code; returns 2. */
int peri_push_error(lua_State *L, int code);

/* The same, with what failed before the reason: "a.txt: no such file or directory". */
int peri_push_failure(lua_State *L, int code, const char *what);

/* The same for failures that are not libuv's. */
int peri_push_error_text(lua_State *L, const char *code, const char *message);

#endif
