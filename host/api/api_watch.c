/* perigee.host.fs_watch: what happens to files and folders, as events in a bounded queue.
 *
 * One watch holds any number of libuv's watchers, one for each path, and one task waits for it at a
 * time. libuv's callbacks only fill the queue; when it is full, one event says that some were lost.
 */
#include "api.h"

#include "vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EVENTS 4096

static const char WATCH_TYPE[] = "perigee.Watch";

struct watched {
    uv_fs_event_t handle;
    struct peri_list link;
    struct watch *watch; /* NULL once it is closing */
    bool is_folder;      /* names in it count; the name of a file is its own */
    char path[];
};

struct event {
    struct peri_list link;
    int kinds; /* UV_RENAME | UV_CHANGE; 0: some were lost */
    size_t path_len;
    char path[]; /* with the name of what it happened to */
};

struct watch {
    struct peri_list paths;
    struct peri_list events;
    unsigned count; /* of events */
    struct next_op *waiting;
};

struct next_op {
    struct peri_op op;
    struct watch **box; /* held by the coroutine's stack */
};

static struct watch **check_box(lua_State *L)
{
    return luaL_checkudata(L, 1, WATCH_TYPE);
}

static struct watch *check_open(lua_State *L)
{
    struct watch **box = check_box(L);
    if (*box == NULL)
        luaL_error(L, "the watch is closed");
    return *box;
}

static void wake(struct watch *watch)
{
    struct next_op *next = watch->waiting;
    watch->waiting = NULL;
    if (next != NULL)
        peri_op_done(&next->op);
}

/* Writers make many events of a kind in a row: the last one of the queue stands for all of them. */
static bool is_repeated(const struct watch *watch, const struct watched *watched, const char *name,
                        int kinds)
{
    if (peri_list_empty(&watch->events))
        return false;
    const struct event *last = peri_container_of(watch->events.prev, struct event, link);
    size_t folder = strlen(watched->path);
    size_t len = name != NULL ? strlen(name) : 0;
    if (last->kinds != kinds || last->path_len != folder + (len > 0 ? len + 1 : 0))
        return false;
    return memcmp(last->path, watched->path, folder) == 0 &&
           (len == 0 || memcmp(last->path + folder + 1, name, len) == 0);
}

static struct event *new_event(const struct watched *watched, const char *name, int kinds)
{
    size_t folder = strlen(watched->path);
    size_t len = name != NULL ? strlen(name) : 0;
    struct event *event = malloc(sizeof(*event) + folder + len + 1);
    if (event == NULL)
        return NULL;
    event->kinds = kinds;
    event->path_len = folder;
    memcpy(event->path, watched->path, folder);
    if (len > 0) {
        event->path[folder] = '/';
        memcpy(event->path + folder + 1, name, len);
        event->path_len += len + 1;
    }
    return event;
}

static void on_event(uv_fs_event_t *handle, const char *name, int kinds, int status)
{
    struct watched *watched = peri_container_of(handle, struct watched, handle);
    struct watch *watch = watched->watch;
    if (watch == NULL || watch->count > MAX_EVENTS)
        return;
    if (watch->count == MAX_EVENTS || status < 0)
        kinds = 0;
    if (kinds == 0 || !watched->is_folder)
        name = NULL;
    if (is_repeated(watch, watched, name, kinds))
        return;
    struct event *event = new_event(watched, name, kinds);
    if (event == NULL)
        return;
    peri_list_append(&watch->events, &event->link);
    watch->count++;
    wake(watch);
}

static void on_closed(uv_handle_t *handle)
{
    free(peri_container_of((uv_fs_event_t *) handle, struct watched, handle));
}

static void close_watched(struct watched *watched)
{
    peri_list_remove(&watched->link);
    watched->watch = NULL;
    uv_close((uv_handle_t *) &watched->handle, on_closed);
}

/* watch:add(path, is_folder): true, or nil and an error. */
static int watch_add(lua_State *L)
{
    struct watch *watch = check_open(L);
    size_t len = 0;
    const char *path = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len > 0 && strlen(path) == len, 2, "a path without NUL expected");
    struct watched *watched = malloc(sizeof(*watched) + len + 1);
    if (watched == NULL)
        return luaL_error(L, "out of memory");
    memcpy(watched->path, path, len + 1);
    watched->watch = watch;
    watched->is_folder = lua_toboolean(L, 3);
    peri_list_init(&watched->link);
    int rc = uv_fs_event_init(peri_vm_of(L)->tasks.loop, &watched->handle);
    if (rc < 0) {
        free(watched);
        return peri_push_failure(L, rc, path);
    }
    rc = uv_fs_event_start(&watched->handle, on_event, path, 0);
    if (rc < 0) {
        close_watched(watched);
        return peri_push_failure(L, rc, path);
    }
    peri_list_append(&watch->paths, &watched->link);
    lua_pushboolean(L, true);
    return 1;
}

/* watch:drop(path): no longer watches it; for a folder that is gone. */
static int watch_drop(lua_State *L)
{
    struct watch *watch = check_open(L);
    const char *path = luaL_checkstring(L, 2);
    struct peri_list *next = NULL;
    for (struct peri_list *at = watch->paths.next; at != &watch->paths; at = next) {
        struct watched *watched = peri_container_of(at, struct watched, link);
        next = at->next;
        if (strcmp(watched->path, path) == 0)
            close_watched(watched);
    }
    return 0;
}

static void next_cancel(struct peri_op *op)
{
    struct next_op *next = peri_container_of(op, struct next_op, op);
    if (*next->box != NULL && (*next->box)->waiting == next)
        (*next->box)->waiting = NULL;
    peri_op_done(op);
}

static int push_event(lua_State *L, struct watch *watch)
{
    struct event *event = peri_container_of(peri_list_first(&watch->events), struct event, link);
    lua_pushlstring(L, event->path, event->path_len);
    lua_pushstring(L, event->kinds == 0          ? "overflow"
                      : event->kinds & UV_RENAME ? "rename"
                                                 : "change");
    peri_list_remove(&event->link);
    watch->count--;
    free(event);
    return 2;
}

static int next_or_wait(lua_State *L, struct watch **box);

static int next_finish(lua_State *L, struct peri_op *op)
{
    return next_or_wait(L, peri_container_of(op, struct next_op, op)->box);
}

static int next_or_wait(lua_State *L, struct watch **box)
{
    struct watch *watch = *box;
    if (watch == NULL)
        return 0; /* closed meanwhile: no more events */
    if (!peri_list_empty(&watch->events))
        return push_event(L, watch);
    if (watch->waiting != NULL)
        return luaL_error(L, "another task waits for this watch");
    struct next_op *next = peri_op_new(L, sizeof(*next));
    next->op.finish = next_finish;
    next->op.cancel = next_cancel;
    next->box = box;
    watch->waiting = next;
    return peri_op_await(L, &next->op);
}

/* watch:next(): path and kind; nothing once it is closed. */
static int watch_next(lua_State *L)
{
    check_open(L);
    return next_or_wait(L, check_box(L));
}

/* Serves close(), __close and __gc, in any order and more than once. */
static int watch_close(lua_State *L)
{
    struct watch **box = check_box(L);
    struct watch *watch = *box;
    if (watch == NULL)
        return 0;
    *box = NULL;
    wake(watch);
    while (!peri_list_empty(&watch->paths))
        close_watched(peri_container_of(watch->paths.next, struct watched, link));
    struct peri_list *link;
    while ((link = peri_list_pop(&watch->events)) != NULL)
        free(peri_container_of(link, struct event, link));
    free(watch);
    return 0;
}

static const luaL_Reg watch_methods[] = {
    {"add", watch_add},   {"close", watch_close}, {"drop", watch_drop},
    {"next", watch_next}, {NULL, NULL},
};

static const luaL_Reg watch_metamethods[] = {
    {"__close", watch_close},
    {"__gc", watch_close},
    {NULL, NULL},
};

/* new(): a watch of nothing yet. */
static int watch_new(lua_State *L)
{
    struct watch **box = lua_newuserdatauv(L, sizeof(struct watch *), 0);
    *box = NULL;
    if (luaL_newmetatable(L, WATCH_TYPE)) {
        luaL_setfuncs(L, watch_metamethods, 0);
        luaL_newlib(L, watch_methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    *box = calloc(1, sizeof(**box));
    if (*box == NULL)
        return luaL_error(L, "out of memory");
    peri_list_init(&(*box)->paths);
    peri_list_init(&(*box)->events);
    return 1;
}

static const luaL_Reg watch_functions[] = {
    {"new", watch_new},
    {NULL, NULL},
};

int peri_open_fs_watch(lua_State *L)
{
    luaL_newlib(L, watch_functions);
    return 1;
}
