/* Documents: the order of keys, and what cannot be written. */
#include "api/api.h"
#include "json_lua.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static lua_State *L;

/* `shape` has ranks by key, `map` is an object with a list of its keys. */
static const char prelude[] = "local document, json = ...\n"
                              "local RANKS, orders = {}, {}\n"
                              "local function shape(fields)\n"
                              "  local metatable = {[RANKS] = {type = 1, title = 2, items = 3}}\n"
                              "  return setmetatable(fields, metatable)\n"
                              "end\n"
                              "local function map(keys, fields)\n"
                              "  orders[fields] = keys\n"
                              "  return setmetatable(fields, {})\n"
                              "end\n"
                              "local value = %s\n"
                              "return document.encode(value, RANKS, orders)\n";

static int open_vm(void **state)
{
    (void) state;
    L = luaL_newstate();
    luaL_openlibs(L);
    return 0;
}

static int close_vm(void **state)
{
    (void) state;
    lua_close(L);
    return 0;
}

/* Leaves the text, or the error, on the stack. */
static bool encode(const char *expression)
{
    char chunk[4096];
    snprintf(chunk, sizeof(chunk), prelude, expression);
    lua_settop(L, 0);
    if (luaL_loadstring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    peri_open_document(L);
    luaL_requiref(L, "json", luaopen_perigee_json, 0);
    return lua_pcall(L, 2, 1, 0) == LUA_OK;
}

static void assert_encodes(const char *expression, const char *expected)
{
    if (!encode(expression))
        fail_msg("%s: %s", expression, lua_tostring(L, -1));
    assert_string_equal(lua_tostring(L, -1), expected);
}

static void assert_refused(const char *expression, const char *part)
{
    assert_false(encode(expression));
    if (strstr(lua_tostring(L, -1), part) == NULL)
        fail_msg("%s", lua_tostring(L, -1));
}

static void values_are_written_as_json(void **state)
{
    (void) state;
    assert_encodes("'a\"\\n\\u{e4}'", "\"a\\\"\\n\u00e4\"");
    assert_encodes("{1, 2.5, 1.0, true, json.null}", "[1,2.5,1.0,true,null]");
    assert_encodes("{{}, json.array({}), shape({}), map({}, {})}", "[{},[],{},{}]");
}

static void a_shape_has_its_keys_in_order_and_others_after_them(void **state)
{
    (void) state;
    assert_encodes("shape({zz = 1, z = 1, title = 'T', a = 2, type = 'x'})",
                   "{\"type\":\"x\",\"title\":\"T\",\"a\":2,\"z\":1,\"zz\":1}");
}

static void a_map_has_its_keys_in_its_own_order(void **state)
{
    (void) state;
    assert_encodes("map({'b', 'gone', 'a', 404}, {a = 1, b = 2, [404] = 3})",
                   "{\"b\":2,\"a\":1,\"404\":3}");
    assert_encodes("map({'b'}, {b = shape({items = {}, type = map({'y', 'x'}, {x = 1, y = 2})})})",
                   "{\"b\":{\"type\":{\"y\":2,\"x\":1},\"items\":{}}}");
}

static void what_stands_in_many_places_is_written_in_each(void **state)
{
    (void) state;
    assert_encodes("(function()\n"
                   "  local one, list = shape({type = map({'y'}, {y = {}})}), {}\n"
                   "  for i = 1, 3 do list[i] = {[tostring(i)] = one, text = 'a'} end\n"
                   "  return {list, one}\n"
                   "end)()",
                   "[[{\"1\":{\"type\":{\"y\":{}}},\"text\":\"a\"},"
                   "{\"2\":{\"type\":{\"y\":{}}},\"text\":\"a\"},"
                   "{\"3\":{\"type\":{\"y\":{}}},\"text\":\"a\"}],"
                   "{\"type\":{\"y\":{}}}]");
    struct peri_buf expected = {0};
    for (int i = 1; i <= 2000; i++)
        peri_buf_addf(&expected, "%s[%d,[\"x\"]]", i == 1 ? "[" : ",", i);
    peri_buf_add(&expected, "]", 2);
    assert_encodes("(function()\n"
                   "  local list, one = {}, {'x'}\n"
                   "  for i = 1, 2000 do list[i] = {i, one} end\n"
                   "  return list\n"
                   "end)()",
                   expected.data);
    peri_buf_deinit(&expected);
}

static void other_tables_have_their_keys_sorted(void **state)
{
    (void) state;
    assert_encodes("{b = 1, a = 2, ab = 3}", "{\"a\":2,\"ab\":3,\"b\":1}");
    assert_encodes("{[404] = {x = 1}, default = 2, [200] = 3}",
                   "{\"200\":3,\"404\":{\"x\":1},\"default\":2}");
}

static void many_keys_are_sorted_too(void **state)
{
    (void) state;
    assert_true(encode("(function() local t = {} for i = 999, 100, -1 do t['k' .. i] = i end\n"
                       "return t end)()"));
    const char *text = lua_tostring(L, -1);
    assert_memory_equal(text, "{\"k100\":100,\"k101\":101,", 23);
    assert_non_null(strstr(text, "\"k998\":998,\"k999\":999}"));
}

static void what_has_no_end_or_is_no_json_is_refused(void **state)
{
    (void) state;
    assert_refused("(function() local t = {} t.a = t return t end)()", "contains itself");
    assert_refused("{a = print}", "function");
    assert_refused("{a = 0/0}", "NaN");
    assert_refused("{a = '\\xff'}", "UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_written_as_json),
        cmocka_unit_test(a_shape_has_its_keys_in_order_and_others_after_them),
        cmocka_unit_test(a_map_has_its_keys_in_its_own_order),
        cmocka_unit_test(what_stands_in_many_places_is_written_in_each),
        cmocka_unit_test(other_tables_have_their_keys_sorted),
        cmocka_unit_test(many_keys_are_sorted_too),
        cmocka_unit_test(what_has_no_end_or_is_no_json_is_refused),
    };
    return cmocka_run_group_tests(tests, open_vm, close_vm);
}
