/* The bytes up to the first newline are a pattern, the rest is a text: a search that pauses all the
 * time finds what Lua's string.match finds, with the same captures, or fails with its error. */
#include "search.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 200000 /* Lua's own would take as many, and cannot be left */
#define PAUSE 3

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "search_fuzz: %s\n", what);
    abort();
}

static enum peri_found run(struct peri_search *search)
{
    enum peri_found found;
    for (int pauses = 0; pauses < MAX_STEPS / PAUSE; pauses++) {
        search->budget = PAUSE;
        found = peri_search_run(search);
        if (found != PERI_FOUND_LATER)
            return found;
    }
    return PERI_FOUND_LATER;
}

static void check_capture(lua_State *L, const struct peri_search *search, int index, bool numbers)
{
    const struct peri_capture whole = {search->begin, search->end - search->begin};
    const struct peri_capture *capture = &whole;
    if (search->capture_count > 0)
        capture = &search->captures[index];
    if (capture->len == PERI_CAPTURE_POSITION) {
        check(lua_tointeger(L, index + 1) == capture->at - search->text + 1, "another position");
        return;
    }
    size_t len = 0;
    const char *bytes = lua_tolstring(L, index + 1, &len);
    check(!numbers && (ptrdiff_t) len == capture->len && memcmp(bytes, capture->at, len) == 0,
          "another capture");
}

static void check_match(lua_State *L, const struct peri_search *search)
{
    int count = search->capture_count > 0 ? (int) search->capture_count : 1;
    check(lua_gettop(L) == count, "another number of captures");
    for (int i = 0; i < count; i++)
        check_capture(L, search, i, lua_type(L, i + 1) != LUA_TSTRING);
}

static bool has_open_capture(const struct peri_search *search)
{
    for (unsigned i = 0; i < search->capture_count; i++) {
        if (search->captures[i].len == PERI_CAPTURE_OPEN)
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct peri_search search;
    static lua_State *L;
    if (L == NULL) {
        L = luaL_newstate();
        luaL_openlibs(L);
    }
    const uint8_t *newline = memchr(data, '\n', size);
    size_t pattern_len = newline != NULL ? (size_t) (newline - data) : size;
    size_t len = newline != NULL ? size - pattern_len - 1 : 0;
    lua_settop(L, 0);
    lua_getglobal(L, "string");
    lua_getfield(L, 1, "match");
    lua_replace(L, 1);
    const char *text = lua_pushlstring(L, (const char *) data + size - len, len);
    const char *pattern = lua_pushlstring(L, (const char *) data, pattern_len);

    bool anchored = *pattern == '^';
    memset(&search, 0xaa, sizeof(search));
    peri_search_init(&search, text, len, pattern + anchored, pattern_len - anchored);
    search.anchored = anchored;
    enum peri_found found = run(&search);
    if (found == PERI_FOUND_LATER)
        return 0;

    lua_pushvalue(L, 2); /* both stay, while the results take their place */
    lua_pushvalue(L, 3);
    lua_setfield(L, LUA_REGISTRYINDEX, "pattern");
    lua_setfield(L, LUA_REGISTRYINDEX, "text");
    int rc = lua_pcall(L, 2, LUA_MULTRET, 0);
    if (rc != LUA_OK && found == PERI_FOUND) {
        check(has_open_capture(&search), "Lua says that the pattern is malformed");
    } else if (rc != LUA_OK) {
        const char *fault = lua_tostring(L, -1);
        check(found == PERI_FOUND_FAULT, "Lua says that the pattern is malformed");
        check(strncmp(fault, search.fault, strlen(search.fault)) == 0, "another fault");
    } else if (found == PERI_FOUND_NOTHING) {
        check(lua_gettop(L) == 1 && lua_isnil(L, 1), "Lua finds a match");
    } else {
        check(found == PERI_FOUND, "Lua finds the pattern well");
        check_match(L, &search);
    }
    return 0;
}
