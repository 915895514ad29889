/* One lua_State with its libraries, its scheduler and the app it loaded. Belongs to one thread.
 *
 * Lua runs text only: bytecode is refused by load, loadfile, dofile, require and for the app
 * itself, because crafted bytecode can corrupt memory. */
#ifndef PERI_VM_H
#define PERI_VM_H

#include "app.h"
#include "background.h"
#include "heap.h"
#include "task.h"
#include "timer.h"

#include <lua.h>
#include <stdatomic.h>

struct peri_generation;
struct peri_loop;
struct peri_vm;

/* A call of a function of the app, in a task of its own. Zeroed but for these two: */
struct peri_call {
    struct peri_buf *error;                /* why it failed is appended; empty otherwise */
    void (*ended)(struct peri_call *call); /* called once, outside of Lua; may be NULL */

    struct peri_vm *vm;
    struct peri_task *task; /* NULL once it has ended */
    struct peri_timer timeout;
    int function;
    bool over;
    lua_Integer result; /* the integer it returned, or 0 */
};

struct peri_texts;

/* What a loop thread keeps of a VM that serves its requests; see generation.h. */
struct peri_life {
    struct peri_generation *generation;
    struct peri_loop *loop;
    struct peri_list link; /* among the VMs of its loop */
    struct peri_call call; /* of the app's start or stop hook */
    struct peri_buf error; /* of that call */
    struct peri_timer grace;
    unsigned exchanges; /* requests that began in it and are not over */
    uint8_t phase;      /* enum peri_phase */
    bool started;       /* the app's start hook has run: its stop hook is due */
    uint8_t reminders;  /* how often its tasks were asked to end */
};

struct peri_vm {
    lua_State *L;
    struct peri_tasks tasks;
    struct peri_timers *timers; /* the loop's; NULL while it loads */
    struct peri_app app;        /* valid after peri_vm_load() */
    struct peri_heap heap;      /* its memory */
    struct peri_life life;
    struct peri_background background;
    struct peri_buf files; /* it loaded, each with a NUL behind; kept where `lists_files` says so */
    const atomic_ullong *load_until; /* uv_hrtime() at which loading fails; NULL: never */
    const void *response_metatable;  /* for api_response.c; NULL: not made yet */
    int request_metatable;           /* registry reference, for api_request.c; 0: not made yet */
    struct peri_texts *texts;        /* where files come from while it loads; NULL: from the disk */
    bool lists_files;
    bool silent; /* warnings about the app are left to another VM of its generation */
    struct peri_workers *workers; /* of its generation; NULL: threaded functions are just called */
    struct peri_worker *worker;   /* whose VM it is; NULL on a loop thread */
    struct peri_topic_inbox *topics; /* of its subscriptions; made when first needed */
    struct peri_mailbox *mailbox;    /* where results of trips arrive; made when first needed */
};

/* The VM of a Lua state or coroutine. */
static inline struct peri_vm *peri_vm_of(lua_State *L)
{
    return *(struct peri_vm **) lua_getextraspace(L);
}

/* Opens a VM whose tasks run on `loop` and whose waits use `timers`. Both may be NULL: then it may
 * load on any thread, in which nothing can wait or open a handle, and peri_vm_attach() follows on
 * the thread of its loop. Returns 0 or a UV_E* code. */
int peri_vm_open(struct peri_vm *vm, uv_loop_t *loop, struct peri_timers *timers);
void peri_vm_attach(struct peri_vm *vm, uv_loop_t *loop, struct peri_timers *timers);

/* The loop for a handle that Lua opens. Raises while the app loads, when there is none. */
uv_loop_t *peri_vm_loop(lua_State *L);

/* Loads the app that the config names (a folder with app.lua, or a Lua file) into vm->app. Returns
 * 0; UV_ENOENT (there is no such app) or UV_EINVAL (it does not load) with the reason in `error`,
 * which the caller frees with peri_buf_deinit(). */
int peri_vm_load(struct peri_vm *vm, const struct peri_config *config, struct peri_buf *error);

/* Finds the app at `path`, a folder with app.lua or a Lua file: pushes its file and makes `require`
 * look in its folder first. Returns false with a message pushed when there is none. May raise. */
bool peri_vm_find_app(lua_State *L, const char *path);

/* Notes that the app has read this file, for whoever watches its files. NULL is none. */
void peri_vm_list_file(lua_State *L, const char *name);

/* Begins to call the function at a registry reference. After `timeout_ms` (0: never) the task is
 * cancelled. `call` stays where it is until it has ended, which may be before this returns. */
void peri_vm_begin(struct peri_vm *vm, struct peri_call *call, int function, uint64_t timeout_ms);

/* The same, and runs the loop until the call has ended, waits included; for what comes before the
 * first request and after the last one. Returns 0 and, in *result (may be NULL), the integer it
 * returned; or -1 with the error appended. */
int peri_vm_call(struct peri_vm *vm, int function, uint64_t timeout_ms, lua_Integer *result,
                 struct peri_buf *error);

/* Closes the state. Its handles belong to the loop until they have closed, and so does `vm`: in one
 * turn of the loop they have. */
void peri_vm_close(struct peri_vm *vm);

/* Pushes what an error says, as tostring would; a table without __tostring says what its fields
 * are, as its address tells nobody anything. May raise. */
void peri_push_message(lua_State *L, int index);

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
