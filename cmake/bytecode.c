/* bytecode FOLDER ROOT FILE...: compiles the framework's Lua modules while Perigee is built, so
 * that no process of it has to. ROOT/perigee/types.lua becomes FOLDER/perigee/types.luac, with the
 * name
 * "@perigee/types.lua" and its lines, for tracebacks. Linked with the very Lua that will load it.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_bytes(lua_State *L, const void *bytes, size_t len, void *file)
{
    (void) L;
    return fwrite(bytes, 1, len, file) != len;
}

/* Writes the function on top of the stack. */
static int dump(lua_State *L, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return -1;
    int failed = lua_dump(L, write_bytes, file, 0);
    return fclose(file) != 0 || failed ? -1 : 0;
}

/* With the module's text and its path below the root. */
static int compile(lua_State *L, const char *folder, const char *source, const char *path)
{
    FILE *file = fopen(source, "rb");
    if (file == NULL) {
        lua_pushfstring(L, "%s cannot be read", source);
        return -1;
    }
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    char piece[4096];
    size_t len;
    while ((len = fread(piece, 1, sizeof(piece), file)) > 0)
        luaL_addlstring(&text, piece, len);
    fclose(file);
    luaL_pushresult(&text);
    lua_pushfstring(L, "@%s", path);
    const char *bytes = lua_tolstring(L, -2, &len);
    if (luaL_loadbufferx(L, bytes, len, lua_tostring(L, -1), "t") != LUA_OK)
        return -1;
    const char *target = lua_pushfstring(L, "%s/%sc", folder, path);
    lua_insert(L, -2);
    if (dump(L, target) != 0) {
        lua_pushfstring(L, "%s cannot be written", target);
        return -1;
    }
    lua_settop(L, 0);
    return 0;
}

int main(int argc, char **argv)
{
    lua_State *L = luaL_newstate();
    if (L == NULL || argc < 3)
        return EXIT_FAILURE;
    int rc = 0;
    for (int i = 3; i < argc && rc == 0; i++)
        rc = compile(L, argv[1], argv[i], argv[i] + strlen(argv[2]) + 1);
    if (rc != 0)
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_close(L);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
