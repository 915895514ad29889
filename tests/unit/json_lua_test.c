/* JSON and Lua values: what a node becomes, how values are written, the paths in errors, and the
 * module that scripts see. */
#include "json_lua.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static lua_State *L;

static int open_vm(void **state)
{
    (void) state;
    L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_perigee_json, 1);
    lua_settop(L, 0);
    return 0;
}

static int close_vm(void **state)
{
    (void) state;
    lua_close(L);
    return 0;
}

/* Runs a chunk that raises (assert) if it finds something wrong. */
static void run(const char *chunk)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_settop(L, 0);
}

static void push(const char *expression)
{
    lua_settop(L, 0);
    lua_pushfstring(L, "return %s", expression);
    if (luaL_dostring(L, lua_tostring(L, 1)) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_replace(L, 1);
    assert_int_equal(lua_gettop(L), 1);
}

static void assert_encodes(const char *expression, const char *expected)
{
    struct peri_buf out = {0};
    peri_buf_add_lit(&out, "before ");
    push(expression);
    if (peri_json_encode(L, 1, &out) != 0)
        fail_msg("%s: %s", expression, lua_tostring(L, -1));
    assert_int_equal(lua_gettop(L), 1); /* leaves the stack as it was */
    peri_buf_add_byte(&out, '\0');
    assert_memory_equal(out.data, "before ", 7);
    assert_string_equal(out.data + 7, expected);
    peri_buf_deinit(&out);
}

static void assert_refuses(const char *expression, const char *message)
{
    struct peri_buf out = {0};
    peri_buf_add_lit(&out, "before");
    push(expression);
    if (peri_json_encode(L, -1, &out) == 0)
        fail_msg("%s is written", expression);
    assert_int_equal(lua_gettop(L), 2);
    assert_string_equal(lua_tostring(L, -1), message);
    assert_int_equal(out.len, 6); /* nothing appended */
    assert_memory_equal(out.data, "before", 6);
    peri_buf_deinit(&out);
}

/* ---- values to text ---- */

static void writes_scalars(void **state)
{
    (void) state;
    assert_encodes("nil", "null");
    assert_encodes("json.null", "null");
    assert_encodes("true", "true");
    assert_encodes("false", "false");
    assert_encodes("42", "42");
    assert_encodes("math.mininteger", "-9223372036854775808");
    assert_encodes("9007199254740993", "9007199254740993");
    assert_encodes("0.1 + 0.2", "0.30000000000000004");
    assert_encodes("3.0", "3.0");
    assert_encodes("'a\"b\\n\\0\xc3\xa9'", "\"a\\\"b\\n\\u0000\xc3\xa9\"");
}

static void tells_arrays_from_objects(void **state)
{
    (void) state;
    assert_encodes("{}", "{}");
    assert_encodes("{ 1, 'x', { 2 } }", "[1,\"x\",[2]]");
    assert_encodes("{ a = 1 }", "{\"a\":1}");
    assert_encodes("{ ['1'] = true }", "{\"1\":true}");
    assert_encodes("{ { a = {} }, {} }", "[{\"a\":{}},{}]");
    assert_encodes("{ [1.0] = 'one' }", "[\"one\"]");
    /* keys 1 to n that next() does not give in their order */
    assert_encodes("(function() local t = {}; for i = 9, 1, -1 do t[i] = i end; return t end)()",
                   "[1,2,3,4,5,6,7,8,9]");
    assert_encodes("(function() local t = { 1 }; t[10] = 10; t[9] = 9\n"
                   "for i = 2, 8 do t[i] = i end; return t end)()",
                   "[1,2,3,4,5,6,7,8,9,10]");
}

static void writes_marked_tables_as_marked(void **state)
{
    (void) state;
    assert_encodes("json.array()", "[]");
    assert_encodes("json.array({ 1, 2 })", "[1,2]");
    assert_encodes("json.object()", "{}");
    assert_encodes("json.object({ [10] = 'x' })", "{\"10\":\"x\"}");
    assert_encodes("json.object({ 'x' })", "{\"1\":\"x\"}");
    assert_encodes("json.object({ [-1.5] = 'x' })", "{\"-1.5\":\"x\"}");
    assert_encodes("json.object({ [false] = 'x' })", "{\"false\":\"x\"}");
    assert_encodes("{ list = json.array({}) }", "{\"list\":[]}");
    assert_encodes("json.array(json.object({ 1 }))", "[1]");

    lua_newtable(L);
    peri_json_mark_array(L, -1);
    lua_setglobal(L, "marked");
    assert_encodes("marked", "[]");
    lua_getglobal(L, "marked");
    peri_json_mark_object(L, -1);
    assert_encodes("marked", "{}");
}

static void names_the_place_of_what_it_cannot_write(void **state)
{
    (void) state;
    static const struct {
        const char *expression;
        const char *message;
    } cases[] = {
        {"print", "a function cannot be written as JSON"},
        {"{ items = { {}, {}, { price = print } } }",
         "items[3].price: a function cannot be written as JSON"},
        {"{ coroutine.create(print) }", "[1]: a thread cannot be written as JSON"},
        {"{ file = io.stdout }", "file: a userdata cannot be written as JSON"},
        {"{ ['a b'] = { ['\"\\n'] = print } }",
         "[\"a b\"][\"\\\"\\n\"]: a function cannot be written as JSON"},
        {"{ [''] = print }", "[\"\"]: a function cannot be written as JSON"},
        {"{ _1 = { ['1a'] = 0/0 } }", "_1[\"1a\"]: NaN cannot be written as JSON"},
        {"{ 1, 1/0 }", "[2]: infinity cannot be written as JSON"},
        {"-1/0", "infinity cannot be written as JSON"},
        {"{ a = 'x\\xff' }", "a: a string that is not UTF-8"},
        {"{ a = { ['\\xff'] = 1 } }", "a: a key that is not UTF-8"},
        {"{ [true] = 1 }", "a boolean key cannot be written as JSON"},
        {"{ a = { [1.5] = 1 } }", "a: a number key cannot be written as JSON"},
        {"json.object({ [{}] = 1 })", "a table key cannot be written as JSON"},
        {"json.object({ [io.stdout] = 1 })", "a userdata key cannot be written as JSON"},
        {"json.object({ [1/0] = 1 })", "infinity cannot be written as JSON"},
        {"json.object({ [1.5] = { [true] = 1 } })",
         "[1.5]: a boolean key cannot be written as JSON"},
        {"json.object({ [10] = { [12] = print } })",
         "[10]: " /* an array it is not */
         "a table that is neither an array (keys 1 to n) nor an object (string keys); "
         "json.null fills holes, json.object{} takes integer keys"},
        {"json.object({ [10] = json.object({ [-2] = print }) })",
         "[10][-2]: a function cannot be written as JSON"},
        {"(function() local t = { [2] = print }; t[1] = 0; return t end)()",
         "[2]: a function cannot be written as JSON"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_refuses(cases[i].expression, cases[i].message);
}

static void refuses_what_is_neither_array_nor_object(void **state)
{
    (void) state;
    static const char *const cases[] = {
        "{ 1, 2, x = 3 }",
        "{ 1, nil, 3 }",
        "{ [2] = 2 }",
        "{ [0] = 0, 1 }",
        "{ [-1] = 1 }",
        "json.array({ x = 1 })",
        "{ [1] = 1, [1 << 62] = 2 }",
        "json.array({ 1, nil, 3 })",
        "json.array({ [true] = 1 })",
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_refuses(
            cases[i], "a table that is neither an array (keys 1 to n) nor an object (string keys); "
                      "json.null fills holes, json.object{} takes integer keys");
}

static void light_userdata_is_null_or_nothing(void **state)
{
    (void) state;
    struct peri_buf out = {0};
    lua_pushlightuserdata(L, &out);
    assert_int_equal(peri_json_encode(L, -1, &out), -1);
    assert_string_equal(lua_tostring(L, -1), "a userdata cannot be written as JSON");
    lua_settop(L, 0);
    peri_json_push_null(L);
    assert_null(lua_touserdata(L, 1));
    assert_int_equal(peri_json_encode(L, 1, &out), 0);
    assert_int_equal(out.len, 4);
    lua_settop(L, 0);
    peri_buf_deinit(&out);
}

static void nesting_is_bounded(void **state)
{
    (void) state;
    run("function nested(depth) local t = {}; for _ = 2, depth do t = { t } end; return t end\n"
        "cycle = {}; cycle.again = cycle");
    push("#json.encode(nested(512))");
    assert_int_equal(lua_tointeger(L, 1), 1024);
    assert_refuses("nested(513)", "[1][1][1][1][1][1][1][1]...: a cycle, or more than 512 levels");
    assert_refuses("cycle", "again.again.again.again.again.again.again.again...: "
                            "a cycle, or more than 512 levels");
}

static void a_value_may_say_what_it_is_written_as(void **state)
{
    (void) state;
    run("function as(value) return setmetatable({ 'raw' }, { __tojson = function(self)\n"
        "  assert(self[1] == 'raw'); return value end }) end\n"
        "function fails() return setmetatable({}, { __tojson = function() error('oh', 0) end }) "
        "end\n"
        "function nests() return setmetatable({}, { __tojson = function()\n"
        "  pcall(json.encode, { 1, print }); return json.encode({ 1 }) end }) end");
    assert_encodes("{ as({ x = 1 }), as(nil), as('s'), as(as(2)), 3 }",
                   "[{\"x\":1},null,\"s\",2,3]");
    assert_encodes("setmetatable({ 1 }, { __index = print })", "[1]");
    assert_encodes("{ nests(), json.decode(json.encode({ nests() })) }", "[\"[1]\",[\"[1]\"]]");
    assert_refuses("{ as({ print }) }", "[1][1]: a function cannot be written as JSON");
    run("local same = {}; setmetatable(same, { __tojson = function() return same end })\n"
        "local ok, err = pcall(json.encode, same)\n"
        "assert(not ok and err == 'a cycle, or more than 512 levels')\n"
        "assert(select(2, pcall(json.encode, { 1, fails() })) == 'oh')\n"
        "assert(json.encode({ 2 }) == '[2]')");
}

static struct peri_buf shared;

/* A host function that writes into the buffer its caller is writing to, and fails. */
static int write_and_raise(lua_State *vm)
{
    lua_pushliteral(vm, "left over");
    peri_json_encode(vm, -1, &shared);
    return luaL_error(vm, "failed");
}

static void what_a_conversion_left_behind_is_dropped(void **state)
{
    (void) state;
    lua_register(L, "write_and_raise", write_and_raise);
    push("{ 1, setmetatable({}, { __tojson = function() return pcall(write_and_raise) end }), 2 }");
    assert_int_equal(peri_json_encode(L, 1, &shared), 0);
    assert_int_equal(shared.len, 11);
    assert_memory_equal(shared.data, "[1,false,2]", 11);
    peri_buf_deinit(&shared);
}

/* ---- nodes to values ---- */

static void nodes_become_lua_values(void **state)
{
    (void) state;
    run("local v = json.decode('{\"a\":[1,2.0,\"x\\\\u0000\",true,false,null],\"b\":{},\"a "
        "b\":-0.0}')\n"
        "assert(#v.a == 6 and v.a[1] == 1 and math.type(v.a[1]) == 'integer')\n"
        "assert(v.a[2] == 2 and math.type(v.a[2]) == 'float' and v.a[3] == 'x\\0')\n"
        "assert(v.a[4] == true and v.a[5] == false and v.a[6] == json.null)\n"
        "assert(next(v.b) == nil and 1 / v['a b'] == -math.huge)");
    run("assert(json.decode('9007199254740993') == 9007199254740993)\n"
        "assert(json.decode('-9223372036854775808') == math.mininteger)\n"
        "local big = json.decode('9223372036854775808')\n"
        "assert(math.type(big) == 'float' and big == 2.0 ^ 63)\n"
        "assert(json.decode('null') == json.null and json.decode('false') == false)\n"
        "assert(json.decode('{\"a\":1,\"a\":2}').a == 2)");
}

static void only_arrays_are_marked(void **state)
{
    (void) state;
    run("local v = json.decode('[{},[]]')\n"
        "assert(json.is_array(v) and json.is_array(v[2]) and not json.is_array(v[1]))\n"
        "assert(not json.is_object(v[1]) and json.is_object(json.object()))\n"
        "assert(not json.is_array({}) and not json.is_array('x') and not "
        "json.is_object(json.array()))\n"
        "assert(json.encode(v) == '[{},[]]')");
}

static void values_survive_a_round_trip(void **state)
{
    (void) state;
    static const char *const texts[] = {
        "[]",
        "{}",
        "[[[]],{},\"\"]",
        "[-9223372036854775808,9223372036854775807,0,-0.0,1e-07,0.1]",
        "[5e-324,1.7976931348623157e+308]",
        "{\"\\u0000\\n\\\"\\\\\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
        "[null,true,false]",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct peri_buf out = {0};
        struct peri_json_doc doc = {0};
        struct peri_json_error error;
        assert_int_equal(peri_json_parse(&doc, texts[i], strlen(texts[i]), 512, 0, &error), 0);
        peri_json_push_node(L, doc.nodes);
        assert_int_equal(lua_gettop(L), 1);
        assert_int_equal(peri_json_encode(L, 1, &out), 0);
        peri_buf_add_byte(&out, '\0');
        assert_string_equal(out.data, texts[i]);
        lua_settop(L, 0);
        peri_json_doc_deinit(&doc);
        peri_buf_deinit(&out);
    }
}

static void the_deepest_text_fits_the_stack(void **state)
{
    (void) state;
    char text[2 * PERI_JSON_MAX_DEPTH];
    memset(text, '[', PERI_JSON_MAX_DEPTH);
    memset(text + PERI_JSON_MAX_DEPTH, ']', PERI_JSON_MAX_DEPTH);
    struct peri_json_doc doc = {0};
    struct peri_json_error error;
    assert_int_equal(peri_json_parse(&doc, text, sizeof(text), PERI_JSON_MAX_DEPTH, 0, &error), 0);
    peri_json_push_node(L, doc.nodes);
    for (int depth = 1; depth < PERI_JSON_MAX_DEPTH; depth++) {
        assert_int_equal(lua_rawgeti(L, -1, 1), LUA_TTABLE);
        lua_remove(L, -2);
    }
    assert_int_equal(lua_rawlen(L, -1), 0);
    peri_json_doc_deinit(&doc);
    run("assert(json.decode(('['):rep(512) .. (']'):rep(512)))\n"
        "local value, err = json.decode(('['):rep(513) .. (']'):rep(513))\n"
        "assert(value == nil and err.message == 'Nesting too deep' and err.position == 513)");
}

/* ---- the module ---- */

static void decode_tells_what_is_wrong_and_where(void **state)
{
    (void) state;
    run("local value, err = json.decode('{\\n\"\xc3\xa9\": [1,]}')\n"
        "assert(value == nil and err.message == 'Illegal trailing comma before end of array')\n"
        "assert(err.position == 11 and err.line == 2 and err.column == 8)\n"
        "assert(tostring(err) == err.message .. ': line 2 column 8 (byte 11)')\n"
        "assert(tostring(select(2, json.decode(''))) == 'Expecting value: line 1 column 1 (byte "
        "1)')\n"
        "assert(select(2, json.decode('NaN')).message == 'Expecting value')\n"
        "assert(select(2, json.decode('\"\\xff\"')).message == 'Invalid UTF-8')");
}

static void the_callers_mistakes_raise(void **state)
{
    (void) state;
    run("assert(not pcall(json.decode) and not pcall(json.decode, 1) and not pcall(json.encode))\n"
        "assert(not pcall(json.encode, 1, true) and not pcall(json.array, 1))\n"
        "assert(not pcall(json.object, setmetatable({}, {})) and not pcall(json.is_array))\n"
        "local ok, err = pcall(function() return json.encode({ a = print }) end)\n"
        "assert(not ok and err:find('a: a function cannot be written as JSON', 1, true))\n"
        "assert(json.encode({ 1 }) == '[1]')");
}

static void pretty_text_is_indented(void **state)
{
    (void) state;
    run("local pretty = { pretty = true }\n"
        "local value = { 1, { a = {} } }\n"
        "local text = '[\\n  1,\\n  {\\n    \"a\": {}\\n  }\\n]'\n"
        "assert(json.encode(value, pretty) == text and json.encode(value, pretty) == text)\n"
        "assert(json.encode({ 1 }, {}) == '[1]' and json.encode({ 1 }, nil) == '[1]')");
}

/* A finalizer is Lua code in the middle of making values: it must not get the tape that is being
 * walked. */
static void finalizers_may_use_json(void **state)
{
    (void) state;
    run("local text = '[' .. ('{\"key\":[\"\\\\u0041 text\",1.5]},'):rep(2000) .. '0]'\n"
        "local ran = 0\n"
        "local function finalizer()\n"
        "  ran = ran + 1\n"
        "  assert(json.encode(json.decode('[\"\\\\n\",{\"other\":[]}]')) == "
        "'[\"\\\\n\",{\"other\":[]}]')\n"
        "  setmetatable({}, { __gc = finalizer })\n"
        "end\n"
        "setmetatable({}, { __gc = finalizer })\n"
        "collectgarbage('setpause', 10)\n"
        "for _ = 1, 20 do\n"
        "  local value = json.decode(text)\n"
        "  assert(#value == 2001)\n"
        "  for i = 1, 2000 do assert(value[i].key[1] == 'A text' and value[i].key[2] == 1.5) end\n"
        "end\n"
        "assert(ran > 0)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_scalars, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(tells_arrays_from_objects, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(writes_marked_tables_as_marked, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(names_the_place_of_what_it_cannot_write, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(refuses_what_is_neither_array_nor_object, open_vm,
                                        close_vm),
        cmocka_unit_test_setup_teardown(light_userdata_is_null_or_nothing, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(nesting_is_bounded, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(a_value_may_say_what_it_is_written_as, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(what_a_conversion_left_behind_is_dropped, open_vm,
                                        close_vm),
        cmocka_unit_test_setup_teardown(nodes_become_lua_values, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(only_arrays_are_marked, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(values_survive_a_round_trip, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(the_deepest_text_fits_the_stack, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(decode_tells_what_is_wrong_and_where, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(the_callers_mistakes_raise, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(pretty_text_is_indented, open_vm, close_vm),
        cmocka_unit_test_setup_teardown(finalizers_may_use_json, open_vm, close_vm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
