/* Values that cross from one VM to another: what comes out is what went in, in a state that shares
 * nothing with the first, and what cannot cross says where it stands. */
#include "transfer.h"

#include "vm.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct side {
    uv_loop_t loop;
    struct peri_timers timers;
    struct peri_vm vm;
} here, there;

static void open_side(struct side *side)
{
    assert_int_equal(uv_loop_init(&side->loop), 0);
    peri_timers_open(&side->timers, &side->loop);
    assert_int_equal(peri_vm_open(&side->vm, &side->loop, &side->timers), 0);
    assert_int_equal(luaL_dostring(side->vm.L, "json = require('perigee.json')\n"
                                               "perigee = require('perigee')"),
                     LUA_OK);
}

static void close_side(struct side *side)
{
    peri_vm_close(&side->vm);
    peri_timers_close(&side->timers);
    uv_run(&side->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&side->loop), 0);
}

static int setup(void **state)
{
    (void) state;
    open_side(&here);
    open_side(&there);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    close_side(&here);
    close_side(&there);
    return 0;
}

/* Runs a chunk here, gives its results to `check` there, and wants true and an even stack. */
static void crosses(const char *make, const char *check)
{
    lua_State *from = here.vm.L;
    lua_State *to = there.vm.L;
    struct peri_buf bytes = {0};
    if (luaL_loadstring(from, make) != LUA_OK || lua_pcall(from, 0, LUA_MULTRET, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(from, -1));
    int count = lua_gettop(from);
    assert_int_equal(peri_transfer_write(from, 1, count, "value", &bytes), 0);
    assert_int_equal(lua_gettop(from), count);
    lua_settop(from, 0);

    if (luaL_loadstring(to, check) != LUA_OK)
        fail_msg("%s", lua_tostring(to, -1));
    assert_int_equal(peri_transfer_read(to, bytes.data, bytes.len), count);
    assert_int_equal(lua_gettop(to), count + 1);
    if (lua_pcall(to, count, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(to, -1));
    if (!lua_toboolean(to, -1))
        fail_msg("%s: not so behind %s", check, make);
    lua_settop(to, 0);
    peri_buf_deinit(&bytes);
}

static void refused(const char *make, const char *message)
{
    lua_State *L = here.vm.L;
    struct peri_buf bytes = {0};
    peri_buf_add_str(&bytes, "before");
    if (luaL_loadstring(L, make) != LUA_OK || lua_pcall(L, 0, LUA_MULTRET, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    int count = lua_gettop(L);
    assert_int_equal(peri_transfer_write(L, 1, count, "value", &bytes), -1);
    assert_string_equal(lua_tostring(L, -1), message);
    assert_int_equal(lua_gettop(L), count + 1);
    assert_int_equal(bytes.len, 6);
    lua_settop(L, 0);
    peri_buf_deinit(&bytes);
}

static void test_scalars_keep_their_type_and_every_digit(void **state)
{
    (void) state;
    crosses("return nil, true, false, math.mininteger, 0.1, 'a\\0b', '', 2^53, -0.0, json.null",
            "local a, b, c, d, e, f, g, h, i, j = ...\n"
            "return a == nil and b == true and c == false and d == math.mininteger and e == 0.1\n"
            "  and f == 'a\\0b' and g == '' and math.type(h) == 'float' and 1/i == -math.huge\n"
            "  and j == json.null and select('#', ...) == 10");
    crosses("return 0/0, 1/0", "local a, b = ... return a ~= a and b == math.huge");
    crosses("return", "return select('#', ...) == 0");
    crosses("return ('x'):rep(1 << 20)", "return #... == 1 << 20");
}

static void test_tables_keep_keys_holes_and_nesting(void **state)
{
    (void) state;
    crosses("return {1, nil, 3, a = {b = {}}, [true] = 'yes', [1.5] = 2, [-1] = 'neg', [100] = 1}",
            "local t = ...\n"
            "return t[1] == 1 and t[2] == nil and t[3] == 3 and next(t.a.b) == nil\n"
            "  and t[true] == 'yes' and t[1.5] == 2 and t[-1] == 'neg' and t[100] == 1");
    crosses("local t = {} for i = 1, 1000 do t[i] = {i} end return t",
            "local t = ... return #t == 1000 and t[777][1] == 777");
}

static void test_cycles_and_shared_tables_stay_what_they_are(void **state)
{
    (void) state;
    crosses("local t = {} t.me = t; t.list = {t, t} return t, t.list",
            "local t, list = ... return t.me == t and t.list == list and list[1] == t");
    crosses("local key = {} return {[key] = key}",
            "local k, v = next((...)) return k == v and next(k) == nil");
}

static void test_a_copy_is_a_copy(void **state)
{
    (void) state;
    crosses("shared = {1} return shared", "local t = ... t[1] = 2 return true");
    assert_int_equal(luaL_dostring(here.vm.L, "assert(shared[1] == 1)"), LUA_OK);
}

static void test_marks_of_json_cross(void **state)
{
    (void) state;
    crosses("return {a = json.array{}, o = json.object{}, n = json.null}",
            "local t = ... return json.encode(t.a) == '[]' and json.encode(t.o) == '{}'\n"
            "  and t.n == json.null");
}

static void test_errors_and_responses_cross(void **state)
{
    (void) state;
    crosses("return perigee.http_error(404, {a = 1}, {['X-A'] = 'b'})",
            "local errors, e = require('perigee.errors'), ...\n"
            "return errors.is_http_error(e) and e.status == 404 and e.detail.a == 1\n"
            "  and e.headers[1][1] == 'X-A'");
    crosses("return perigee.text('hi', {status = 201}):set('X-A', 'b')",
            "local r = ... return r:get('x-a') == 'b' and r.status == 201 and r.body == 'hi'");
}

static void test_a_models_value_keeps_what_is_set_and_its_order(void **state)
{
    (void) state;
    static const char make[] =
        "local t = perigee.types\n"
        "local Item = t.model('Item', {b = t.integer(), a = t.integer({default = 1}),\n"
        "  c = t.integer({optional = true})})\n"
        "local one, two = assert(Item:validate({b = 2})), assert(Item:validate({b = 3}))\n"
        "return {one, two, one}";
    crosses(make, "local one, two, same = table.unpack((...))\n"
                  "return one.b == 2 and one.a == 1 and two.b == 3 and same == one\n"
                  "  and one:fields_set().b and not one:fields_set().a\n"
                  "  and json.encode(one) == '{\"b\":2,\"a\":1,\"c\":null}'");
}

static void test_what_cannot_cross_says_where_it_stands(void **state)
{
    (void) state;
    refused("return {items = {1, 2, {callback = print}}}",
            "value 1 cannot be given to another thread: items[3].callback is a function");
    refused("return 1, print", "value 2 cannot be given to another thread: it is a function");
    refused("return {['not a name'] = coroutine.create(print)}",
            "value 1 cannot be given to another thread: [\"not a name\"] is a coroutine");
    refused("return {a = {io.stdout}}", "value 1 cannot be given to another thread: a[1] is an "
                                        "object of the host that belongs to its thread");
    refused("return {a = setmetatable({}, {})}", "value 1 cannot be given to another thread: a is "
                                                 "an object with a metatable of its own");
    refused("return {[print] = 1}",
            "value 1 cannot be given to another thread: [a key] is a function");
    refused("local t = {} for _ = 1, 300 do t = {t} end return {deep = t}, 2",
            "value 1 cannot be given to another thread: it is nested too deeply");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars_keep_their_type_and_every_digit),
        cmocka_unit_test(test_tables_keep_keys_holes_and_nesting),
        cmocka_unit_test(test_cycles_and_shared_tables_stay_what_they_are),
        cmocka_unit_test(test_a_copy_is_a_copy),
        cmocka_unit_test(test_marks_of_json_cross),
        cmocka_unit_test(test_errors_and_responses_cross),
        cmocka_unit_test(test_a_models_value_keeps_what_is_set_and_its_order),
        cmocka_unit_test(test_what_cannot_cross_says_where_it_stands),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
