#include "vm.h"

#include "api/api.h"
#include "callbacks.h"
#include "coroutine.h"
#include "finalizer.h"
#include "framework.h"
#include "hop.h"
#include "json_lua.h"
#include "load_io.h"
#include "log.h"
#include "protect.h"
#include "slice.h"
#include "texts.h"
#include "topics.h"
#include "worker.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua-cjson.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TRACEBACK_FRAMES 20
#define FIELDS_SHOWN 20    /* of an error that is a table, */
#define FIELD_SHOWN 200    /* bytes of each */
#define MESSAGE_SHOWN 8192 /* bytes of an error's text in the log */

static const char ERROR_TYPE[] = "perigee.Error";

static int error_tostring(lua_State *L);

static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    fprintf(stderr, "perigee: Lua error outside of a protected call: %s\n",
            text != NULL ? text : "(no text)");
    return 0; /* Lua aborts the process */
}

/* --- text only ---------------------------------------------------------------------------------
 */

/* load(chunk, name, mode, env) as in the manual, but for binary chunks. The original is upvalue 1.
 */
static int text_load(lua_State *L)
{
    bool has_env = lua_gettop(L) >= 4;
    lua_settop(L, 4);
    if (!has_env)
        lua_settop(L, 3);
    const char *mode = luaL_optstring(L, 3, "t");
    if (strchr(mode, 't') == NULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "attempt to load a binary chunk (Perigee runs text only)");
        return 2;
    }
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

void peri_vm_list_file(lua_State *L, const char *name)
{
    struct peri_vm *vm = peri_vm_of(L);
    if (name != NULL && vm->lists_files)
        peri_buf_add(&vm->files, name, strlen(name) + 1);
}

/* loadfile(name, mode, env) likewise. */
static int text_loadfile(lua_State *L)
{
    const char *name = luaL_optstring(L, 1, NULL);
    bool has_env = !lua_isnone(L, 3);
    peri_vm_list_file(L, name);
    if (peri_texts_load(peri_vm_of(L)->texts, L, name) != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_env) {
        lua_pushvalue(L, 3);
        lua_setupvalue(L, -2, 1);
    }
    return 1;
}

static int after_dofile(lua_State *L, int status, lua_KContext context)
{
    (void) status;
    (void) context;
    return lua_gettop(L) - 1;
}

static int text_dofile(lua_State *L)
{
    const char *name = luaL_optstring(L, 1, NULL);
    lua_settop(L, 1);
    peri_vm_list_file(L, name);
    if (peri_texts_load(peri_vm_of(L)->texts, L, name) != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, LUA_MULTRET, 0, after_dofile);
    return after_dofile(L, LUA_OK, 0);
}

/* package.searchpath(name, package.path), as the first VM of the load has found it. Pushes the
 * file, or nil and where it was looked for. */
static void search_path(lua_State *L)
{
    struct peri_texts *texts = peri_vm_of(L)->texts;
    lua_settop(L, 1);
    lua_getglobal(L, LUA_LOADLIBNAME);
    lua_getfield(L, 2, "path");
    const char *key = lua_pushfstring(L, "%s\n%s", lua_tostring(L, 1), luaL_tolstring(L, 3, NULL));
    if (peri_texts_recall(texts, L, key))
        return;
    lua_getfield(L, 2, "searchpath");
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 3);
    lua_call(L, 2, 2);
    peri_texts_remember(texts, peri_vm_of(L), key, lua_tostring(L, -2), lua_tostring(L, -1));
}

/* The searcher for Lua files of `require`: like the standard one, text only. */
static int search_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    search_path(L);
    if (lua_isnil(L, -2))
        return 1; /* the list of places that were tried */
    lua_pop(L, 1);
    const char *file = lua_tostring(L, -1);
    peri_vm_list_file(L, file);
    if (peri_texts_load(peri_vm_of(L)->texts, L, file) != LUA_OK)
        return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, file,
                          lua_tostring(L, -1));
    lua_pushstring(L, file);
    return 2;
}

/* The framework's own modules stand in the binary. */
static int search_embedded(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (peri_framework_push(L, name))
        return 2;
    lua_pushfstring(L, "no embedded module '%s'", name);
    return 1;
}

static void open_loaders(lua_State *L)
{
    lua_getglobal(L, "load");
    lua_pushcclosure(L, text_load, 1);
    lua_setglobal(L, "load");
    lua_pushcfunction(L, text_loadfile);
    lua_setglobal(L, "loadfile");
    lua_pushcfunction(L, text_dofile);
    lua_setglobal(L, "dofile");

    /* searchers: preload, embedded, Lua files, C libraries, all-in-one C libraries */
    lua_getglobal(L, LUA_LOADLIBNAME);
    lua_getfield(L, -1, "searchers");
    for (int i = 4; i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search_embedded);
    lua_rawseti(L, -2, 2);
    lua_pushcfunction(L, search_file);
    lua_rawseti(L, -2, 3);
    lua_pop(L, 2);
}

/* --- life --------------------------------------------------------------------------------------
 */

static int open_libraries(lua_State *L)
{
    luaL_openlibs(L);
    open_loaders(L);
    peri_load_io_open(L);
    peri_task_open_types(L);
    peri_coroutine_open(L);
    luaL_newmetatable(L, ERROR_TYPE);
    lua_pushcfunction(L, error_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
    peri_protect_open(L);
    peri_callbacks_open(L);
    peri_finalizer_open(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_cjson);
    lua_setfield(L, -2, "cjson");
    lua_pushcfunction(L, luaopen_perigee_json);
    lua_setfield(L, -2, "perigee.json");
    lua_pushcfunction(L, luaopen_perigee_host);
    lua_setfield(L, -2, "perigee.host");
    return 0;
}

void peri_vm_attach(struct peri_vm *vm, uv_loop_t *loop, struct peri_timers *timers)
{
    vm->timers = timers;
    peri_tasks_attach(&vm->tasks, loop);
}

uv_loop_t *peri_vm_loop(lua_State *L)
{
    uv_loop_t *loop = peri_vm_of(L)->tasks.loop;
    if (loop == NULL)
        luaL_error(L, "this cannot be opened while the app loads: open it in app:on_start()");
    return loop;
}

int peri_vm_open(struct peri_vm *vm, uv_loop_t *loop, struct peri_timers *timers)
{
    *vm = (struct peri_vm){.timers = timers};
    lua_State *L = lua_newstate(peri_heap_allocate, &vm->heap);
    if (L == NULL)
        return UV_ENOMEM;
    vm->L = L;
    lua_atpanic(L, on_panic);
    *(struct peri_vm **) lua_getextraspace(L) = vm;
    peri_background_init(&vm->background);
    lua_gc(L, LUA_GCGEN, 0, 0);
    peri_tasks_open(&vm->tasks, L, loop);
    lua_pushcfunction(L, open_libraries);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK)
        return UV_ENOMEM;
    return 0;
}

void peri_vm_close(struct peri_vm *vm)
{
    if (vm->L == NULL)
        return;
    peri_mailbox_close(vm->mailbox);
    peri_tasks_close(&vm->tasks);
    lua_close(vm->L);
    vm->L = NULL;
    peri_topic_inbox_close(vm->topics);
    peri_heap_deinit(&vm->heap);
    peri_app_deinit(&vm->app);
    peri_buf_deinit(&vm->files);
}

/* Pushes a search path without its relative entries: what an app loads must not depend on the
 * folder that the server was started in. */
static void push_without_cwd(lua_State *L, const char *path)
{
    luaL_Buffer kept;
    luaL_buffinit(L, &kept);
    while (*path != '\0') {
        size_t len = strcspn(path, ";");
        if (path[0] == '/') {
            luaL_addlstring(&kept, path, len);
            luaL_addchar(&kept, ';');
        }
        path += len;
        path += *path == ';';
    }
    luaL_pushresult(&kept);
}

/* Modules are found in the folder at the top of the stack first, then where Lua is installed. */
static void search_in(lua_State *L)
{
    int folder = lua_gettop(L);
    if (strpbrk(lua_tostring(L, folder), ";?") != NULL)
        luaL_error(L, "the folder '%s' has a ';' or '?' in its name: Lua cannot search in it",
                   lua_tostring(L, folder));
    lua_getglobal(L, LUA_LOADLIBNAME);
    static const struct {
        const char *field;
        const char *format;
    } paths[] = {{"path", "%s/?.lua;%s/?/init.lua;"}, {"cpath", "%s/?.so;"}};
    for (size_t i = 0; i < 2; i++) {
        lua_getfield(L, folder + 1, paths[i].field);
        const char *text = lua_tostring(L, folder);
        lua_pushfstring(L, paths[i].format, text, text);
        push_without_cwd(L, lua_tostring(L, -2));
        lua_concat(L, 2);
        lua_setfield(L, folder + 1, paths[i].field);
        lua_pop(L, 1);
    }
    lua_settop(L, folder - 1);
}

bool peri_vm_find_app(lua_State *L, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        lua_pushfstring(L, "no app at '%s': %s", path, strerror(errno));
        return false;
    }
    size_t len = strlen(path);
    if (S_ISDIR(info.st_mode)) {
        while (len > 1 && path[len - 1] == '/')
            len--;
        lua_pushlstring(L, path, len);
        lua_pushfstring(L, "%s/app.lua", lua_tostring(L, -1));
        if (stat(lua_tostring(L, -1), &info) != 0) {
            lua_pushfstring(L, "no app.lua in '%s': it must return an app (perigee.app())", path);
            return false;
        }
    } else {
        const char *slash = strrchr(path, '/');
        lua_pushlstring(L, slash == NULL ? "." : path,
                        slash == NULL   ? 1
                        : slash == path ? 1
                                        : (size_t) (slash - path));
        lua_pushstring(L, path);
    }
    lua_insert(L, -2);
    search_in(L);
    return true;
}

struct load {
    const struct peri_config *config;
    struct peri_app *app;
    bool missing;
};

/* What flags say of the app, and win over its options. */
static void push_settings(lua_State *L, const struct peri_config *config)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, config->root_path); /* or nil */
    lua_setfield(L, -2, "root_path");
    lua_pushstring(L, config->metrics);
    lua_setfield(L, -2, "metrics");
    if (config->health)
        lua_pushboolean(L, 1);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, "health");
    if (config->request_id_given) {
        lua_pushboolean(L, config->request_id);
        lua_setfield(L, -2, "request_id");
    }
    lua_pushboolean(L, config->dev);
    lua_setfield(L, -2, "dev"); /* errors may be shown to whoever asks */
}

/* Protected. */
static int load_app(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);
    if (!peri_vm_find_app(L, load->config->app)) {
        load->missing = true;
        return lua_error(L);
    }
    lua_getglobal(L, "require");
    lua_pushliteral(L, "perigee.entry");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_pushvalue(L, 2);
    push_settings(L, load->config);
    lua_call(L, 2, 1);
    peri_app_read(L, load->app, load->config);
    return 0;
}

/* Fails a load that takes too long. Coroutines inherit the hook, and lose it in their first step
 * after the load. Past the limit every step of the app's own code raises, so that a loop around
 * pcall ends as well; the framework's code may run on to say where it was. */
static void on_count(lua_State *L, lua_Debug *where)
{
    const atomic_ullong *until = peri_vm_of(L)->load_until;
    if (until == NULL) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    lua_getinfo(L, "S", where);
    if (strncmp(where->source, "@perigee/", 9) == 0)
        return;
    luaL_where(L, 0);
    lua_pushliteral(L, "the app took too long to load (--load-timeout-ms), and was here");
    lua_concat(L, 2);
    lua_error(L);
}

/* In a signal handler, every few milliseconds of a load. There is no hook before its time is up: a
 * standing one makes Lua slower. */
static void on_load_tick(void *runner)
{
    lua_State *L = runner;
    const atomic_ullong *until = peri_vm_of(L)->load_until;
    if (until != NULL && uv_hrtime() >= atomic_load_explicit(until, memory_order_relaxed))
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
}

/* lua_pcall of the function and its argument on the stack, which ends at vm->load_until. */
static int call_in_time(struct peri_vm *vm)
{
    bool watched = vm->load_until != NULL && !peri_watchdog.open;
    if (watched && peri_watchdog_open(on_load_tick) != 0)
        peri_log_error("a load cannot be interrupted: %s", strerror(errno));
    void *outer = peri_slice_enter(vm->L);
    int status = lua_pcall(vm->L, 1, 0, 0);
    peri_slice_leave(vm->L, outer);
    if (watched)
        peri_watchdog_close();
    return status;
}

int peri_vm_load(struct peri_vm *vm, const struct peri_config *config, struct peri_buf *error)
{
    lua_State *L = vm->L;
    struct load load = {.config = config, .app = &vm->app};
    peri_heap_set_limit(&vm->heap, config->lua_memory);
    vm->tasks.traces = config->dev;
    lua_pushcfunction(L, load_app);
    lua_pushlightuserdata(L, &load);
    int rc = 0;
    if (call_in_time(vm) != LUA_OK) {
        const char *text = lua_tostring(L, -1);
        peri_buf_add_str(error, text != NULL ? text : "the app raised an error without a text");
        rc = load.missing ? UV_ENOENT : UV_EINVAL;
    }
    vm->load_until = NULL;
    vm->texts = NULL;
    lua_sethook(L, NULL, 0, 0);
    lua_settop(L, 0);
    return rc;
}

/* --- a function in a task, from start to end ----------------------------------------------------
 */

static int call_end(lua_State *L, int status, lua_KContext context)
{
    struct peri_call *call = (struct peri_call *) context;
    if (status != LUA_OK && status != LUA_YIELD)
        peri_buf_add_str(call->error, luaL_tolstring(L, -1, NULL));
    else
        call->result = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    return 0;
}

static int call_main(lua_State *L)
{
    struct peri_call *call = lua_touserdata(L, 1);
    call->task = peri_task_current(L);
    lua_settop(L, 0);
    lua_pushcfunction(L, peri_traceback);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    return call_end(L, lua_pcallk(L, 0, 1, 1, (lua_KContext) call, call_end), (lua_KContext) call);
}

static void on_call_ended(struct peri_task *task, void *owner, bool failed)
{
    struct peri_call *call = owner;
    if (failed)
        peri_buf_add_str(call->error, peri_task_error(task));
    peri_timer_stop(call->vm->timers, &call->timeout);
    call->task = NULL;
    call->over = true;
    if (call->ended != NULL)
        call->ended(call);
}

static void on_call_timeout(struct peri_timer *timer)
{
    struct peri_call *call = peri_container_of(timer, struct peri_call, timeout);
    peri_task_cancel(call->task, "it took too long");
}

void peri_vm_begin(struct peri_vm *vm, struct peri_call *call, int function, uint64_t timeout_ms)
{
    call->vm = vm;
    call->function = function;
    call->timeout.fire = on_call_timeout;
    uv_update_time(vm->tasks.loop);
    if (timeout_ms > 0)
        peri_timer_start(vm->timers, &call->timeout, uv_now(vm->tasks.loop) + timeout_ms);
    peri_task_start(&vm->tasks, call_main, call, on_call_ended);
}

int peri_vm_call(struct peri_vm *vm, int function, uint64_t timeout_ms, lua_Integer *result,
                 struct peri_buf *error)
{
    struct peri_call call = {.error = error};
    size_t before = error->len;
    peri_vm_begin(vm, &call, function, timeout_ms);
    while (!call.over && uv_run(vm->tasks.loop, UV_RUN_ONCE) != 0)
        ;
    peri_timer_stop(vm->timers, &call.timeout);
    if (!call.over) /* it waits for what nothing in this loop will ever wake */
        peri_buf_add_str(error, "the function waits for ever");
    if (result != NULL)
        *result = call.result;
    return error->len == before ? 0 : -1;
}

/* The innermost frames of the running coroutine. Not luaL_traceback, which looks for the outermost
 * ones too: behind a stack overflow that takes a second. */
static void add_frames(lua_State *L, luaL_Buffer *text)
{
    lua_Debug frame;
    for (int level = 1; lua_getstack(L, level, &frame); level++) {
        if (level > TRACEBACK_FRAMES) {
            luaL_addstring(text, "\n\t...");
            return;
        }
        lua_getinfo(L, "Slnt", &frame);
        lua_pushfstring(L, "\n\t%s:", frame.short_src);
        luaL_addvalue(text);
        if (frame.currentline > 0) {
            lua_pushfstring(L, "%d:", frame.currentline);
            luaL_addvalue(text);
        }
        if (*frame.namewhat != '\0')
            lua_pushfstring(L, " in %s '%s'", frame.namewhat, frame.name);
        else if (*frame.what == 'm')
            lua_pushliteral(L, " in main chunk");
        else if (*frame.what == 'C')
            lua_pushliteral(L, " in a C function");
        else
            lua_pushfstring(L, " in function <%s:%d>", frame.short_src, frame.linedefined);
        luaL_addvalue(text);
        if (frame.istailcall)
            luaL_addstring(text, "\n\t(...tail calls...)");
    }
}

void peri_push_frames(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    bool here = false;
    bool known = peri_protect_frames(L, index, &here);
    if (known && here)
        return;
    int kept = lua_gettop(L);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    if (known) {
        lua_pushvalue(L, kept);
        luaL_addvalue(&text);
        luaL_addstring(&text, "\n\tin a task of");
    }
    add_frames(L, &text);
    luaL_pushresult(&text);
    if (known)
        lua_remove(L, -2);
}

/* Appends "key = value" of the pair on top of the stack to the list at `list`, in order. */
static void add_field(lua_State *L, int list)
{
    int key = lua_gettop(L) - 1;
    int value = lua_gettop(L);
    size_t len = 0;
    lua_pushstring(L, lua_type(L, key) == LUA_TSTRING ? "" : "[");
    luaL_tolstring(L, key, NULL);
    lua_pushstring(L, lua_type(L, key) == LUA_TSTRING ? " = " : "] = ");
    if (lua_type(L, value) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, value, &len);
        lua_pushliteral(L, "\"");
        lua_pushlstring(L, text, len < FIELD_SHOWN ? len : FIELD_SHOWN);
        lua_pushstring(L, len <= FIELD_SHOWN ? "\"" : "...\"");
        lua_concat(L, 3);
    } else if (lua_type(L, value) == LUA_TTABLE) {
        lua_pushliteral(L, "{...}");
    } else {
        luaL_tolstring(L, value, NULL);
    }
    lua_concat(L, 4);
    lua_Integer at = luaL_len(L, list) + 1;
    for (; at > 1; at--) {
        lua_rawgeti(L, list, at - 1);
        if (!lua_compare(L, -2, -1, LUA_OPLT))
            break;
        lua_rawseti(L, list, at);
    }
    lua_settop(L, value + 1);
    lua_rawseti(L, list, at);
}

static void push_fields(lua_State *L, int table)
{
    lua_newtable(L);
    int list = lua_gettop(L);
    lua_pushnil(L);
    for (int n = 0; lua_next(L, table); n++) {
        if (n == FIELDS_SHOWN) {
            lua_pop(L, 2);
            break;
        }
        add_field(L, list);
        lua_pop(L, 1);
    }
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    luaL_addchar(&text, '{');
    lua_Integer count = luaL_len(L, list);
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addstring(&text, ", ");
        lua_rawgeti(L, list, i);
        luaL_addvalue(&text);
    }
    luaL_addchar(&text, '}');
    luaL_pushresult(&text);
    lua_remove(L, list);
}

void peri_push_message(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    bool says = lua_type(L, index) != LUA_TTABLE;
    if (!says && luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        says = true;
    }
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    if (says)
        luaL_tolstring(L, index, NULL);
    else
        push_fields(L, index);
}

/* The message at index 1 as a log can take it: no NUL, and no novel. */
static void add_message(lua_State *L, luaL_Buffer *text)
{
    size_t len = 0;
    const char *message = lua_tolstring(L, 1, &len);
    size_t shown = len > MESSAGE_SHOWN ? MESSAGE_SHOWN : len;
    while (shown > 0) {
        const char *nul = memchr(message, '\0', shown);
        size_t piece = nul != NULL ? (size_t) (nul - message) : shown;
        luaL_addlstring(text, message, piece);
        message += piece;
        shown -= piece;
        if (nul != NULL) {
            luaL_addstring(text, "\\0");
            message++;
            shown--;
        }
    }
    if (len > MESSAGE_SHOWN) {
        lua_pushfstring(L, "... (%d bytes)", (int) len);
        luaL_addvalue(text);
    }
}

int peri_traceback(lua_State *L)
{
    peri_protect_note(L);
    if (peri_is_http_error(L, 1) || peri_is_cancelled(L, 1) || peri_is_validation_error(L, 1))
        return 1;
    lua_settop(L, 1);
    peri_protect_blame(L);
    peri_push_frames(L, 1); /* at 2 */
    bool elsewhere = peri_hop_push_trace(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING) {
        peri_push_message(L, 1);
        lua_replace(L, 1);
    }
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    add_message(L, &text);
    luaL_addstring(&text, "\nstack traceback:");
    luaL_addlstring(&text, lua_tostring(L, 2), lua_rawlen(L, 2));
    if (elsewhere) {
        luaL_addchar(&text, '\n');
        luaL_addstring(&text, lua_tostring(L, 3));
    }
    luaL_pushresult(&text);
    return 1;
}

static int error_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "message");
    return 1;
}

int peri_push_error_text(lua_State *L, const char *code, const char *message)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    luaL_setmetatable(L, ERROR_TYPE);
    return 2;
}

int peri_push_error(lua_State *L, int code)
{
    return peri_push_error_text(L, uv_err_name(code), uv_strerror(code));
}

int peri_push_failure(lua_State *L, int code, const char *what)
{
    const char *message = lua_pushfstring(L, "%s: %s", what, uv_strerror(code));
    return peri_push_error_text(L, uv_err_name(code), message);
}
