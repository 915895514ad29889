#include "vm.h"

#include "api/api.h"
#include "embed.h"
#include "json_lua.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua-cjson.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void *allocate(void *context, void *block, size_t before, size_t after)
{
    struct peri_vm *vm = context;
    if (block == NULL)
        before = 0; /* Lua passes the kind of object here */
    if (after == 0) {
        free(block);
        vm->memory -= before;
        return NULL;
    }
    void *moved = realloc(block, after);
    if (moved != NULL)
        vm->memory = vm->memory - before + after;
    return moved;
}

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

/* loadfile(name, mode, env) likewise. */
static int text_loadfile(lua_State *L)
{
    const char *name = luaL_optstring(L, 1, NULL);
    bool has_env = !lua_isnone(L, 3);
    if (luaL_loadfilex(L, name, "t") != LUA_OK) {
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
    if (luaL_loadfilex(L, name, "t") != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, LUA_MULTRET, 0, after_dofile);
    return after_dofile(L, LUA_OK, 0);
}

/* The searcher for Lua files of `require`: like the standard one, text only. */
static int search_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_getglobal(L, LUA_LOADLIBNAME);
    lua_getfield(L, -1, "searchpath");
    lua_pushvalue(L, 1);
    lua_getfield(L, -3, "path");
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2))
        return 1; /* the list of places that were tried */
    lua_pop(L, 1);
    const char *file = lua_tostring(L, -1);
    if (luaL_loadfilex(L, file, "t") != LUA_OK)
        return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, file,
                          lua_tostring(L, -1));
    lua_pushstring(L, file);
    return 2;
}

/* The framework's own modules stand in the binary. */
static int search_embedded(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    for (size_t i = 0; i < peri_embedded_count; i++) {
        const struct peri_embedded *module = &peri_embedded[i];
        if (strcmp(module->name, name) != 0)
            continue;
        if (luaL_loadbufferx(L, (const char *) module->bytes, module->len, module->chunkname,
                             "t") != LUA_OK)
            return lua_error(L);
        lua_pushstring(L, module->chunkname);
        return 2;
    }
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
    peri_task_open_coroutines(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_cjson);
    lua_setfield(L, -2, "cjson");
    lua_pushcfunction(L, luaopen_perigee_json);
    lua_setfield(L, -2, "perigee.json");
    lua_pushcfunction(L, luaopen_perigee_host);
    lua_setfield(L, -2, "perigee.host");
    return 0;
}

int peri_vm_open(struct peri_vm *vm, uv_loop_t *loop, struct peri_timers *timers)
{
    *vm = (struct peri_vm){.timers = timers};
    lua_State *L = lua_newstate(allocate, vm);
    if (L == NULL)
        return UV_ENOMEM;
    vm->L = L;
    lua_atpanic(L, on_panic);
    *(struct peri_vm **) lua_getextraspace(L) = vm;
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
    peri_tasks_close(&vm->tasks);
    lua_close(vm->L);
    vm->L = NULL;
    peri_app_deinit(&vm->app);
}

struct load {
    const struct peri_config *config;
    struct peri_app *app;
    char *folder;
    char *file;
};

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

/* Protected: the app's own modules are found from its folder, then everything else. */
static int load_app(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_getglobal(L, LUA_LOADLIBNAME);
    lua_getfield(L, -1, "path");
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;", load->folder, load->folder);
    push_without_cwd(L, lua_tostring(L, -2));
    lua_concat(L, 2);
    lua_setfield(L, 1, "path");
    lua_getfield(L, 1, "cpath");
    lua_pushfstring(L, "%s/?.so;", load->folder);
    push_without_cwd(L, lua_tostring(L, -2));
    lua_concat(L, 2);
    lua_setfield(L, 1, "cpath");

    lua_getglobal(L, "require");
    lua_pushliteral(L, "perigee.entry");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_pushstring(L, load->file);
    lua_call(L, 1, 1);
    peri_app_read(L, load->app, load->config);
    return 0;
}

/* Finds the file of the app. Returns 0, or UV_ENOENT with the reason in `error`. */
static int find_file(const char *path, struct load *load, struct peri_buf *error)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        peri_buf_addf(error, "no app at '%s': %s", path, strerror(errno));
        return UV_ENOENT;
    }
    if (!S_ISDIR(info.st_mode)) {
        load->file = strdup(path);
        const char *slash = strrchr(path, '/');
        load->folder = slash == NULL   ? strdup(".")
                       : slash == path ? strdup("/")
                                       : strndup(path, (size_t) (slash - path));
        return 0;
    }
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    load->folder = strndup(path, len);
    if (asprintf(&load->file, "%s/app.lua", load->folder) < 0)
        load->file = NULL;
    if (load->file == NULL || stat(load->file, &info) != 0) {
        peri_buf_addf(error, "no app.lua in '%s': it must return an app (perigee.app())", path);
        return UV_ENOENT;
    }
    return 0;
}

int peri_vm_load(struct peri_vm *vm, const struct peri_config *config, struct peri_buf *error)
{
    lua_State *L = vm->L;
    struct load load = {.config = config, .app = &vm->app};
    int rc = find_file(config->app, &load, error);
    if (rc == 0) {
        lua_pushcfunction(L, load_app);
        lua_pushlightuserdata(L, &load);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
            const char *text = lua_tostring(L, -1);
            peri_buf_add_str(error, text != NULL ? text : "the app raised an error without a text");
            rc = UV_EINVAL;
        }
        lua_settop(L, 0);
    }
    free(load.folder);
    free(load.file);
    return rc;
}

int peri_traceback(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING) {
        if (!lua_isnil(L, 1) && luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL)
            return 1;
        lua_settop(L, 1);
        if (peri_is_http_error(L, 1) || peri_is_cancelled(L, 1))
            return 1;
        luaL_tolstring(L, 1, NULL);
    }
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    return 1;
}

static int error_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "message");
    return 1;
}

int peri_push_error(lua_State *L, int code)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, uv_err_name(code));
    lua_setfield(L, -2, "code");
    lua_pushstring(L, uv_strerror(code));
    lua_setfield(L, -2, "message");
    if (luaL_newmetatable(L, "perigee.Error")) {
        lua_pushcfunction(L, error_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
    return 2;
}
