/* string.find, string.match and string.gmatch. */
#include "callbacks.h"

#include "slice.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

enum { TEXT = 1, PATTERN, FROM, PLAIN };

/* Where gmatch goes on: in a userdata, as the iterator's upvalue. */
struct gmatch {
    const char *text;
    const char *pattern;
    size_t text_len;
    size_t pattern_len;
    const char *begin;
    const char *last;
};

/* --- for all of them ---------------------------------------------------------------------------
 */

enum peri_found peri_find_next(lua_State *L, struct peri_search *search)
{
    enum peri_found found;
    while ((found = peri_search_run(search)) == PERI_FOUND_LATER) {
        search->budget = PERI_SEARCH_BUDGET;
        if (peri_slice_is_over(L) && peri_slice_must_yield(L)) {
            size_t size = peri_search_size(search);
            memcpy(lua_newuserdatauv(L, size, 0), search, size);
            return found;
        }
    }
    if (found == PERI_FOUND_FAULT && search->fault_index >= 0)
        luaL_error(L, "%s%d", search->fault, search->fault_index);
    else if (found == PERI_FOUND_FAULT)
        luaL_error(L, "%s", search->fault);
    return found;
}

void peri_find_take_up(lua_State *L, struct peri_search *search)
{
    memcpy(search, lua_touserdata(L, -1), lua_rawlen(L, -1));
    lua_pop(L, 1);
}

const char *peri_find_capture(lua_State *L, const struct peri_search *search, unsigned index,
                              size_t *len)
{
    if (index >= search->capture_count) {
        if (index > 0)
            luaL_error(L, "invalid capture index %%%d", (int) index + 1);
        *len = (size_t) (search->end - search->begin);
        return search->begin;
    }
    const struct peri_capture *capture = &search->captures[index];
    if (capture->len == PERI_CAPTURE_OPEN)
        luaL_error(L, "unfinished capture");
    bool position = capture->len == PERI_CAPTURE_POSITION;
    *len = position ? (size_t) (capture->at - search->text) + 1 : (size_t) capture->len;
    return position ? NULL : capture->at;
}

void peri_find_push_capture(lua_State *L, const struct peri_search *search, unsigned index)
{
    size_t len = 0;
    const char *capture = peri_find_capture(L, search, index, &len);
    if (capture != NULL)
        lua_pushlstring(L, capture, len);
    else
        lua_pushinteger(L, (lua_Integer) len);
}

int peri_find_push_captures(lua_State *L, const struct peri_search *search)
{
    unsigned count = search->capture_count > 0 ? search->capture_count : 1;
    luaL_checkstack(L, (int) count, "too many captures");
    for (unsigned i = 0; i < count; i++)
        peri_find_push_capture(L, search, i);
    return (int) count;
}

/* The offset that argument FROM means. */
static size_t check_offset(lua_State *L, size_t len)
{
    lua_Integer from = luaL_optinteger(L, FROM, 1);
    if (from > 0)
        return (size_t) from - 1;
    return from == 0 || from < -(lua_Integer) len ? 0 : len + (size_t) from;
}

/* --- string.find and string.match --------------------------------------------------------------
 */

static int find_go_on(lua_State *L, int status, lua_KContext finds);

static int find_or_match(lua_State *L, struct peri_search *search, bool finds)
{
    switch (peri_find_next(L, search)) {
    case PERI_FOUND_LATER:
        return peri_slice_yield(L, finds, find_go_on);
    case PERI_FOUND:
        break;
    default:
        luaL_pushfail(L);
        return 1;
    }
    if (!finds)
        return peri_find_push_captures(L, search);
    lua_pushinteger(L, search->begin - search->text + 1);
    lua_pushinteger(L, search->end - search->text);
    return search->capture_count > 0 ? 2 + peri_find_push_captures(L, search) : 2;
}

static int find_go_on(lua_State *L, int status, lua_KContext finds)
{
    struct peri_search search;
    (void) status;
    peri_find_take_up(L, &search);
    return find_or_match(L, &search, finds != 0);
}

/* Looks at the first few places itself: memmem() takes some time to get ready, and only then is
 * fast whatever the bytes are. */
static const char *find_bytes(const char *text, size_t len, const char *bytes, size_t bytes_len)
{
    for (int places = 0; places < 8 && bytes_len > 0 && bytes_len <= len; places++) {
        const char *at = memchr(text, *bytes, len - bytes_len + 1);
        if (at == NULL || memcmp(at, bytes, bytes_len) == 0)
            return at;
        len -= (size_t) (at + 1 - text);
        text = at + 1;
    }
    return memmem(text, len, bytes, bytes_len);
}

static int find_plain(lua_State *L, const char *text, size_t len, size_t offset,
                      const char *pattern, size_t pattern_len)
{
    const char *found = find_bytes(text + offset, len - offset, pattern, pattern_len);
    if (found == NULL) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, found - text + 1);
    lua_pushinteger(L, found - text + (lua_Integer) pattern_len);
    return 2;
}

static int begin(lua_State *L, bool finds)
{
    size_t len = 0;
    size_t pattern_len = 0;
    const char *text = luaL_checklstring(L, TEXT, &len);
    const char *pattern = luaL_checklstring(L, PATTERN, &pattern_len);
    size_t offset = check_offset(L, len);
    if (offset > len) {
        luaL_pushfail(L);
        return 1;
    }
    if (finds && (lua_toboolean(L, PLAIN) || peri_search_is_plain(pattern, pattern_len)))
        return find_plain(L, text, len, offset, pattern, pattern_len);
    struct peri_search search;
    bool anchored = *pattern == '^';
    peri_search_init(&search, text, len, pattern + anchored, pattern_len - anchored);
    search.begin = text + offset;
    search.anchored = anchored;
    return find_or_match(L, &search, finds);
}

static int string_find(lua_State *L)
{
    return begin(L, true);
}

static int string_match(lua_State *L)
{
    return begin(L, false);
}

/* --- string.gmatch -----------------------------------------------------------------------------
 */

static int gmatch_go_on(lua_State *L, int status, lua_KContext context);

static int gmatch_find(lua_State *L, struct gmatch *gmatch, struct peri_search *search)
{
    switch (peri_find_next(L, search)) {
    case PERI_FOUND_LATER:
        return peri_slice_yield(L, (lua_KContext) gmatch, gmatch_go_on);
    case PERI_FOUND:
        gmatch->begin = gmatch->last = search->end;
        return peri_find_push_captures(L, search);
    default:
        return 0;
    }
}

static int gmatch_go_on(lua_State *L, int status, lua_KContext context)
{
    struct peri_search search;
    (void) status;
    peri_find_take_up(L, &search);
    return gmatch_find(L, (struct gmatch *) context, &search);
}

static int gmatch_next(lua_State *L)
{
    struct gmatch *gmatch = lua_touserdata(L, lua_upvalueindex(3));
    struct peri_search search;
    if (gmatch->begin == NULL)
        return 0;
    peri_search_init(&search, gmatch->text, gmatch->text_len, gmatch->pattern, gmatch->pattern_len);
    search.begin = gmatch->begin;
    search.last = gmatch->last;
    return gmatch_find(L, gmatch, &search);
}

static int string_gmatch(lua_State *L)
{
    struct gmatch state = {0};
    state.text = luaL_checklstring(L, TEXT, &state.text_len);
    state.pattern = luaL_checklstring(L, PATTERN, &state.pattern_len);
    size_t offset = check_offset(L, state.text_len);
    if (offset <= state.text_len)
        state.begin = state.text + offset;
    lua_settop(L, PATTERN);
    struct gmatch *gmatch = lua_newuserdatauv(L, sizeof(*gmatch), 0);
    *gmatch = state;
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

void peri_find_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", string_find},
        {"match", string_match},
        {"gmatch", string_gmatch},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
