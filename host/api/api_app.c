/* perigee.host.app: what loading an app and the command line need of the host. */
#include "api.h"

#include "config.h"
#include "embed.h"
#include "router.h"
#include "texts.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 32 /* of folders in folders */

/* find(path): the file of the app at a folder or file; `require` looks beside it from then on. */
static int app_find(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    if (!peri_vm_find_app(L, path)) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    return 1;
}

/* Returns the text, or nil with why not and whether there is no such file. */
static int push_text(lua_State *L, const char *path, bool regular)
{
    struct peri_buf text = {0};
    int rc = peri_texts_read(peri_vm_of(L)->texts, peri_vm_of(L), path, regular, &text);
    if (rc == 0) {
        lua_pushlstring(L, text.data, text.len);
        peri_buf_deinit(&text);
        return 1;
    }
    peri_buf_deinit(&text);
    lua_pushnil(L);
    lua_pushstring(L, strerror(-rc));
    lua_pushboolean(L, rc == UV_ENOENT);
    return 3;
}

/* read_text(path): a file that the app is made of; while it loads, as it was for the first VM. */
static int app_read_text(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    peri_vm_list_file(L, path);
    return push_text(L, path, false);
}

/* read_source(path): the same for a file that is to be shown: what is no file is not opened. */
static int app_read_source(lua_State *L)
{
    return push_text(L, luaL_checkstring(L, 1), true);
}

/* path_error(path): what is wrong with the path of an operation; nil when nothing is. */
static int app_path_error(lua_State *L)
{
    char error[200];
    if (peri_router_check(luaL_checkstring(L, 1), error, sizeof(error)) == 0)
        return 0;
    lua_pushstring(L, error);
    return 1;
}

/* is_first(): false where another VM of the generation speaks of the faults of the app. */
static int app_is_first(lua_State *L)
{
    lua_pushboolean(L, !peri_vm_of(L)->silent);
    return 1;
}

static bool is_hidden(const char *name)
{
    return name[0] == '.' || strcmp(name, "node_modules") == 0 || strcmp(name, "lua_modules") == 0;
}

/* Appends the files below the folder at the top of the stack to the list at index 2, in the order
 * of their names; `depth` ends what links to itself. Returns 0 or a UV_E* code. */
static int add_files(lua_State *L, int depth)
{
    const char *folder = lua_tostring(L, -1);
    uv_fs_t scan;
    uv_dirent_t entry;
    int rc = uv_fs_scandir(NULL, &scan, folder, 0, NULL);
    while (rc >= 0 && uv_fs_scandir_next(&scan, &entry) == 0) {
        if (is_hidden(entry.name))
            continue;
        uv_fs_t stat;
        bool here = strcmp(folder, ".") == 0;
        lua_pushfstring(L, "%s%s%s", here ? "" : folder, here ? "" : "/", entry.name);
        if (uv_fs_stat(NULL, &stat, lua_tostring(L, -1), NULL) == 0) {
            bool is_folder = S_ISDIR(stat.statbuf.st_mode);
            if (is_folder && depth < MAX_DEPTH) {
                luaL_checkstack(L, 4, "folders within folders");
                add_files(L, depth + 1); /* one that cannot be read has nothing to show */
            } else if (!is_folder) {
                lua_createtable(L, 0, 2);
                lua_pushvalue(L, -2);
                lua_setfield(L, -2, "path");
                lua_pushnumber(L, (lua_Number) stat.statbuf.st_mtim.tv_sec +
                                      (lua_Number) stat.statbuf.st_mtim.tv_nsec / 1e9);
                lua_setfield(L, -2, "modified");
                lua_rawseti(L, 2, (lua_Integer) lua_rawlen(L, 2) + 1);
            }
        }
        uv_fs_req_cleanup(&stat);
        lua_pop(L, 1);
    }
    uv_fs_req_cleanup(&scan);
    return rc < 0 ? rc : 0;
}

/* files(folder): the files below it, { path, modified } each; hidden ones and installed modules are
 * left out. Nil and an error when the folder cannot be read. */
static int app_files(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushlstring(L, path, len);
    int rc = add_files(L, 0);
    if (rc < 0)
        return peri_push_error(L, rc);
    lua_settop(L, 2);
    return 1;
}

/* The framework's own file that is the module `name`, as text; nil when there is none. */
static int app_embedded(lua_State *L)
{
    const char *name = luaL_optstring(L, 1, NULL);
    if (name == NULL)
        lua_createtable(L, (int) peri_embedded_count, 0);
    for (size_t i = 0; i < peri_embedded_count; i++) {
        const struct peri_embedded *module = &peri_embedded[i];
        if (name == NULL) {
            lua_pushstring(L, module->name);
            lua_rawseti(L, -2, (lua_Integer) i + 1);
        } else if (strcmp(module->name, name) == 0) {
            lua_pushlstring(L, (const char *) module->bytes, module->len);
            lua_pushstring(L, module->chunkname);
            return 2;
        }
    }
    return name == NULL;
}

/* caller(home): where the innermost frame stands that is neither C's nor in the folder `home`, as
 * "app.lua:12", with its source and line; nil when there is none. In C because it is asked for each
 * declaration of an app, and debug.getinfo makes a table for each frame. */
static int app_caller(lua_State *L)
{
    size_t len = 0;
    const char *home = luaL_checklstring(L, 1, &len);
    lua_Debug frame;
    for (int level = 1; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "S", &frame);
        if (*frame.what == 'C' || strncmp(frame.source, home, len) == 0)
            continue;
        lua_getinfo(L, "l", &frame);
        lua_pushfstring(L, "%s:%d", frame.short_src, frame.currentline);
        lua_pushstring(L, frame.source);
        lua_pushinteger(L, frame.currentline);
        return 3;
    }
    return 0;
}

struct stdin_op {
    struct peri_op op;
    uv_fs_t req;
    uv_buf_t buf;
    char bytes[4096];
};

static void on_input(uv_fs_t *req)
{
    struct stdin_op *input = req->data;
    peri_op_done(&input->op);
}

static int input_finish(lua_State *L, struct peri_op *op)
{
    struct stdin_op *input = peri_container_of(op, struct stdin_op, op);
    ssize_t count = input->req.result;
    uv_fs_req_cleanup(&input->req);
    if (count <= 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, input->bytes, (size_t) count);
    return 1;
}

/* read_input(): what standard input has, up to a line where it is a terminal; nil at its end. Waits
 * on a thread of the pool, whatever kind of file it is. */
static int app_read_input(lua_State *L)
{
    struct stdin_op *input = peri_op_new(L, sizeof(*input));
    input->op.finish = input_finish;
    input->req.data = input;
    input->buf = uv_buf_init(input->bytes, sizeof(input->bytes));
    int rc = uv_fs_read(peri_vm_of(L)->tasks.loop, &input->req, STDIN_FILENO, &input->buf, 1, -1,
                        on_input);
    return rc < 0 ? peri_push_error(L, rc) : peri_op_await(L, &input->op);
}

/* is_terminal(1 or 2): whether standard output or standard error is one. */
static int app_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty((int) luaL_checkinteger(L, 1)));
    return 1;
}

/* run_help(): what `perigee run --help` prints: its flags with their defaults. */
static int app_run_help(lua_State *L)
{
    struct peri_buf text = {0};
    peri_config_usage(&text);
    lua_pushlstring(L, text.data, text.len);
    peri_buf_deinit(&text);
    return 1;
}

/* settings(): the texts given as --set, a list. */
static int app_settings(lua_State *L)
{
    const char *text = NULL;
    lua_newtable(L);
    for (size_t i = 0; (text = peri_config_setting(i)) != NULL; i++) {
        lua_pushstring(L, text);
        lua_rawseti(L, -2, (lua_Integer) i + 1);
    }
    return 1;
}

/* add_setting(text): one more, from a command's own --set. False when there are too many. */
static int app_add_setting(lua_State *L)
{
    char *text = strdup(luaL_checkstring(L, 1)); /* for the life of the process */
    bool added = text != NULL && peri_config_add_setting(text);
    if (!added)
        free(text);
    lua_pushboolean(L, added); /* NOLINT(clang-analyzer-unix.Malloc): the settings keep it */
    return 1;
}

/* limits(): what perigee.app{ limits = {...} } takes: name -> { least, most }. */
static int app_limits(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; i < peri_limit_option_count; i++) {
        const struct peri_limit_option *option = &peri_limit_options[i];
        lua_createtable(L, 2, 0);
        lua_pushinteger(L, (lua_Integer) option->min);
        lua_rawseti(L, -2, 1);
        lua_pushinteger(L, (lua_Integer) option->max);
        lua_rawseti(L, -2, 2);
        lua_setfield(L, -2, option->name);
    }
    return 1;
}

static const luaL_Reg app_functions[] = {
    {"add_setting", app_add_setting},
    {"caller", app_caller},
    {"embedded", app_embedded},
    {"files", app_files},
    {"find", app_find},
    {"is_first", app_is_first},
    {"is_terminal", app_is_terminal},
    {"limits", app_limits},
    {"path_error", app_path_error},
    {"read_input", app_read_input},
    {"read_source", app_read_source},
    {"read_text", app_read_text},
    {"run_help", app_run_help},
    {"set_state", peri_request_set_state},
    {"settings", app_settings},
    {NULL, NULL},
};

int peri_open_app(lua_State *L)
{
    luaL_newlib(L, app_functions);
    lua_pushliteral(L, PERIGEE_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
