#include "load_io.h"

#include "texts.h"
#include "vm.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>
#include <uv.h>

/* Lua's own function is upvalue 1 of each one here, its name upvalue 2. Calls it with the
 * arguments from index `first` on; what it raises is told as if the app had called it. */
static int call_original(lua_State *L, int first)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, first);
    int status = lua_pcall(L, lua_gettop(L) - first, LUA_MULTRET, 0);
    if (status == LUA_OK)
        return lua_gettop(L) - first + 1;
    if (status == LUA_ERRRUN && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        luaL_gsub(L, lua_tostring(L, -2), "to '?'", lua_tostring(L, lua_upvalueindex(2)));
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* As liolib's: [rwa]%+?b* */
static bool is_mode(const char *mode)
{
    if (*mode == '\0' || strchr("rwa", *mode) == NULL)
        return false;
    mode += mode[1] == '+' ? 2 : 1;
    return strspn(mode, "b") == strlen(mode);
}

static int close_copy(lua_State *L)
{
    luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    return luaL_fileresult(L, fclose(stream->f) == 0, NULL);
}

/* Pushes a file with what the load has read of it. Returns as peri_texts_open(). */
static int push_copy(lua_State *L, const char *name)
{
    struct peri_texts *texts = peri_vm_of(L)->texts;
    if (texts == NULL)
        return UV_ENOTSUP;
    luaL_Stream *stream = lua_newuserdatauv(L, sizeof(*stream), 0);
    *stream = (luaL_Stream){0}; /* closed, until there is a file */
    luaL_setmetatable(L, LUA_FILEHANDLE);
    int rc = peri_texts_open(texts, peri_vm_of(L), name, &stream->f);
    if (rc != 0)
        lua_pop(L, 1);
    else
        stream->closef = close_copy;
    return rc;
}

static int load_open(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *mode = luaL_optstring(L, 2, "r");
    luaL_argcheck(L, is_mode(mode), 2, "invalid mode");
    if (*mode == 'r' && strchr(mode, '+') == NULL) {
        int rc = push_copy(L, name);
        if (rc == 0)
            return 1;
        if (rc != UV_ENOTSUP) {
            errno = -rc;
            return luaL_fileresult(L, 0, name);
        }
        return call_original(L, 1);
    }
    lua_pushvalue(L, 1); /* keeps the name */
    lua_insert(L, 1);
    int count = call_original(L, 2);
    peri_texts_written(peri_vm_of(L)->texts, name); /* also one that it has just made */
    return count;
}

/* io.lines(name, ...): an iterator, and the file for the loop to close. */
static int load_lines(lua_State *L)
{
    int rc = lua_type(L, 1) == LUA_TSTRING ? push_copy(L, lua_tostring(L, 1)) : UV_ENOTSUP;
    if (rc != 0)
        return call_original(L, 1); /* which also says what is wrong */
    int file = lua_gettop(L);
    lua_getfield(L, file, "lines");
    lua_pushvalue(L, file);
    for (int i = 2; i < file; i++)
        lua_pushvalue(L, i);
    lua_call(L, file - 1, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, file);
    return 4;
}

/* Whatever it does to files. */
static int load_change(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING) /* io.output() only asks */
        peri_texts_written(peri_vm_of(L)->texts, NULL);
    return call_original(L, 1);
}

static void wrap(lua_State *L, const char *library, const char *name, lua_CFunction function)
{
    lua_getglobal(L, library);
    lua_getfield(L, -1, name);
    lua_pushfstring(L, "to '%s'", name);
    lua_pushcclosure(L, function, 2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

void peri_load_io_open(lua_State *L)
{
    wrap(L, "io", "open", load_open);
    wrap(L, "io", "lines", load_lines);
    wrap(L, "io", "output", load_change);
    wrap(L, "io", "popen", load_change);
    wrap(L, "os", "execute", load_change);
    wrap(L, "os", "remove", load_change);
    wrap(L, "os", "rename", load_change);
}
