/* Searches that are left off after every few steps, against Lua's own: random patterns over random
 * texts, from a fixed seed. */
#include "buf.h"
#include "search.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#define ROUNDS 40000
#define MAX_TEXT 14 /* longer ones take for ever in Lua */

static lua_State *lua;
static uint64_t seed;

static unsigned roll(unsigned sides)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned) (seed >> 33) % sides;
}

static int set_up(void **state)
{
    (void) state;
    lua = luaL_newstate();
    luaL_openlibs(lua);
    seed = 42;
    return 0;
}

static int tear_down(void **state)
{
    (void) state;
    lua_close(lua);
    return 0;
}

/* What string.find says of a text and a pattern: bounds and captures, or the error. */
static void ask_lua(const char *text, size_t len, const char *pattern, size_t pattern_len,
                    char *said, size_t size)
{
    lua_settop(lua, 0);
    lua_getglobal(lua, "string");
    lua_getfield(lua, -1, "find");
    lua_remove(lua, 1);
    lua_pushlstring(lua, text, len);
    lua_pushlstring(lua, pattern, pattern_len);
    int rc = lua_pcall(lua, 2, LUA_MULTRET, 0);
    size_t used = 0;
    int results = lua_gettop(lua);
    luaL_checkstack(lua, results, NULL);
    for (int i = 1; i <= results; i++)
        used += (size_t) snprintf(said + used, size - used, "%s%s", rc != LUA_OK ? "error: " : "|",
                                  luaL_tolstring(lua, i, NULL));
}

static void say_captures(const struct peri_search *search, char *said, size_t size)
{
    size_t used = (size_t) snprintf(said, size, "|%td|%td", search->begin - search->text + 1,
                                    search->end - search->text);
    for (unsigned i = 0; i < search->capture_count; i++) {
        const struct peri_capture *capture = &search->captures[i];
        if (capture->len == PERI_CAPTURE_OPEN) {
            snprintf(said, size, "error: unfinished capture");
            return;
        }
        if (capture->len == PERI_CAPTURE_POSITION)
            used +=
                (size_t) snprintf(said + used, size - used, "|%td", capture->at - search->text + 1);
        else
            used += (size_t) snprintf(said + used, size - used, "|%.*s", (int) capture->len,
                                      capture->at);
    }
}

/* The same of ours, which pauses after `steps` and goes on as a copy of itself. */
static void ask(const char *text, size_t len, const char *pattern, size_t pattern_len, int steps,
                char *said, size_t size)
{
    static struct peri_search searches[2];
    struct peri_search *search = &searches[0];
    bool anchored = *pattern == '^';
    peri_search_init(search, text, len, pattern + anchored, pattern_len - anchored);
    search->anchored = anchored;
    search->budget = steps;
    enum peri_found found;
    while ((found = peri_search_run(search)) == PERI_FOUND_LATER) {
        struct peri_search *other = &searches[search == &searches[0]];
        memset(other, 0xaa, offsetof(struct peri_search, choices));
        memcpy(other, search, peri_search_size(search));
        search = other;
        search->budget = steps;
    }
    if (found == PERI_FOUND_NOTHING)
        snprintf(said, size, "|nil");
    else if (found == PERI_FOUND)
        say_captures(search, said, size);
    else if (search->fault_index >= 0)
        snprintf(said, size, "error: %s%d", search->fault, search->fault_index);
    else
        snprintf(said, size, "error: %s", search->fault);
}

static void same(const char *text, size_t len, const char *pattern, size_t pattern_len, int steps)
{
    static char expected[100000];
    static char said[100000];
    if (strcspn(pattern, "^$*+?.([%-") == pattern_len) /* string.find takes it literally */
        return;
    ask_lua(text, len, pattern, pattern_len, expected, sizeof(expected));
    ask(text, len, pattern, pattern_len, steps, said, sizeof(said));
    if (strcmp(said, expected) != 0)
        fail_msg("'%.60s' with '%.60s' in %d steps: Lua says %.200s and we say %.200s", text,
                 pattern, steps, expected, said);
}

static const char *const pieces[] = {
    "a",  "b",     "c",     ".",      "%a",   "%d",      "%s",   "%w",   "%W",      "%p",
    "%.", "[ab]",  "[^ab]", "[%a_]",  "[a-c", "[a-c]",   "[]a]", "[^]]", "[%]a]",   "[a%-c]",
    "(",  "(",     ")",     ")",      "()",   "%1",      "%2",   "%0",   "%b()",    "%bab",
    "%b", "%f[a]", "%f",    "%f[^a]", "%",    "^",       "$",    "-",    "*",       "+",
    "?",  "*",     "+",     "?",      "-",    "[%w%s-]", "%z",   "[",    "%f[%z]a", "]",
};

static void random_patterns_mean_what_lua_means(void **state)
{
    (void) state;
    struct peri_buf pattern = {0};
    for (int round = 0; round < ROUNDS; round++) {
        char text[MAX_TEXT + 1];
        size_t len = roll(MAX_TEXT);
        for (size_t i = 0; i < len; i++)
            text[i] = "aaabbc()12 ._-]A"[roll(16)];
        text[len] = '\0';
        pattern.len = 0;
        for (unsigned i = 1 + roll(6); i > 0; i--)
            peri_buf_add_str(&pattern, pieces[roll(sizeof(pieces) / sizeof(*pieces))]);
        peri_buf_add(&pattern, "", 1);
        same(text, len, pattern.data, pattern.len - 1, (int[]){1, 2, 7, 1000000}[roll(4)]);
    }
    peri_buf_deinit(&pattern);
}

/* With NUL bytes, and bytes beyond ASCII, on both sides. */
static void any_bytes_may_occur(void **state)
{
    (void) state;
    for (int round = 0; round < ROUNDS / 4; round++) {
        char text[MAX_TEXT + 1];
        char pattern[12];
        size_t len = roll(MAX_TEXT);
        size_t pattern_len = 1 + roll(10);
        for (size_t i = 0; i < len; i++)
            text[i] = "\0\0\xff\x80"[roll(4)];
        text[len] = '\0';
        for (size_t i = 0; i < pattern_len; i++)
            pattern[i] = "\0\xff[]^%-*.zf"[roll(11)];
        pattern[pattern_len] = '\0';
        if (memchr(pattern, '\0', pattern_len) == NULL)
            same(text, len, pattern, pattern_len, 3);
    }
}

static void long_runs_are_counted_in_parts(void **state)
{
    (void) state;
    static const char *const patterns[] = {
        "^a*b",   "^[a-c]*()", "^[ab]+c", "(a-)b", ".*a$", "^(a*)%1", "%b()", "^%w+()", "a*",
        "((a*))", "%f[b]b",    "[^b]*",   "x*",    "x+",   "^%w*%wb", "a*b?", "^a*a$",
    };
    static const size_t sizes[] = {4095, 4096, 4097, 8192, 8193, 10000};
    static char text[10002];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (int with_end = 0; with_end < 2; with_end++) {
            memset(text, 'a', sizes[i]);
            text[sizes[i]] = '\0';
            if (with_end)
                text[sizes[i] - 1] = 'b';
            for (size_t p = 0; p < sizeof(patterns) / sizeof(*patterns); p++) {
                if (with_end || strcmp(patterns[p], "(a-)b") != 0) /* takes 50 million steps */
                    same(text, sizes[i], patterns[p], strlen(patterns[p]), 1000);
            }
        }
    }
}

/* As many choices as Lua has levels of C, and one more. */
static void a_pattern_is_too_complex_where_lua_says_so(void **state)
{
    (void) state;
    static const char *const items[] = {"a*", "a-", "a?", "()", "(", "a+", "x*", "(a)", "a*(b?)"};
    struct peri_buf pattern = {0};
    for (size_t i = 0; i < sizeof(items) / sizeof(*items); i++) {
        for (int count = 30; count <= 202; count += count == 33 ? 160 : 1) {
            pattern.len = 0;
            for (int n = 0; n < count; n++)
                peri_buf_add_str(&pattern, items[i]);
            peri_buf_add(&pattern, "", 1);
            same("aaaaaaaaaa", 10, pattern.data, pattern.len - 1, 1000000);
            pattern.len--;
            peri_buf_add(&pattern, "$", 2);
            same("", 0, pattern.data, pattern.len - 1, 5);
        }
    }
    peri_buf_deinit(&pattern);
}

static void a_search_may_begin_anywhere(void **state)
{
    (void) state;
    static const char text[] = "one two  three";
    struct peri_search search;
    peri_search_init(&search, text, sizeof(text) - 1, "%a*", 3);
    struct peri_buf found = {0};
    while (peri_search_run(&search) == PERI_FOUND) {
        peri_buf_add(&found, search.begin, (size_t) (search.end - search.begin));
        peri_buf_add_byte(&found, ';');
        peri_search_go_behind(&search);
    }
    assert_int_equal(found.len, strlen("one;two;;three;"));
    assert_memory_equal(found.data, "one;two;;three;", found.len);
    peri_buf_deinit(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_patterns_mean_what_lua_means, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_bytes_may_occur, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_runs_are_counted_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pattern_is_too_complex_where_lua_says_so, set_up,
                                        tear_down),
        cmocka_unit_test(a_search_may_begin_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
