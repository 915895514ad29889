/* Tasks that compute: they are interrupted wherever they are, the others get their turn, and a
 * deadline ends them. The watchdog of this thread is open, as in a loop thread. */
#include "slice.h"

#include "vm.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DEADLINE_MS 60
#define ENDLESS_MS 3600000

static struct {
    uv_loop_t loop;
    struct peri_timers timers;
    struct peri_vm vm;
    struct peri_work work;
    struct peri_buf trace; /* what the chunks logged */
    int expired;
} world;

struct run {
    const char *chunk;
    bool apart; /* of no work: it is not taken to compute because another one does */
    bool ended;
};

static int lua_log(lua_State *L)
{
    if (world.trace.len > 0)
        peri_buf_add_byte(&world.trace, ' ');
    peri_buf_add_str(&world.trace, luaL_tolstring(L, 1, NULL));
    return 0;
}

/* overruns(): of this VM, so far. */
static int lua_overruns(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer) world.vm.tasks.overruns);
    return 1;
}

static int late_end(lua_State *L, int status, lua_KContext context)
{
    (void) status;
    (void) context;
    lua_pushcfunction(L, lua_log);
    lua_pushliteral(L, "returned");
    lua_call(L, 1, 0);
    return lua_gettop(L);
}

/* late(f, ...): calls a C function whose slice is over when it begins, and logs its end at once. */
static int lua_late(lua_State *L)
{
    peri_slice_overran(L);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, late_end);
    return late_end(L, LUA_OK, 0);
}

static int on_chunk_end(lua_State *L, int status, lua_KContext context)
{
    (void) context;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushcfunction(L, lua_log);
        lua_insert(L, -2);
        lua_call(L, 1, 0);
    }
    return 0;
}

static int body(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    peri_task_current(L)->work = run->apart ? NULL : &world.work;
    if (luaL_loadbuffer(L, run->chunk, strlen(run->chunk), "=chunk") != LUA_OK)
        return lua_error(L);
    return on_chunk_end(L, lua_pcallk(L, 0, 0, 0, 0, on_chunk_end), 0);
}

static void on_ended(struct peri_task *task, void *owner, bool failed)
{
    struct run *run = owner;
    (void) task;
    assert_false(failed);
    run->ended = true;
}

static void on_expired(struct peri_task *task, void *owner)
{
    (void) task;
    (void) owner;
    world.expired++;
}

static void start_with(struct run *run, const char *chunk, bool apart)
{
    *run = (struct run){.chunk = chunk, .apart = apart};
    peri_task_start(&world.vm.tasks, body, run, on_ended);
}

static void start(struct run *run, const char *chunk)
{
    start_with(run, chunk, false);
}

/* Runs the chunk to its end, with its deadline when it computes for ever. */
static void does(const char *chunk, const char *expected)
{
    struct run run;
    start(&run, chunk);
    assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
    assert_true(run.ended);
    peri_buf_add_byte(&world.trace, '\0');
    assert_string_equal(world.trace.data, expected);
    world.trace.len = 0;
}

static int set_up(void **state)
{
    (void) state;
    uv_loop_init(&world.loop);
    peri_timers_open(&world.timers, &world.loop);
    if (peri_vm_open(&world.vm, &world.loop, &world.timers) != 0 ||
        peri_watchdog_open(peri_slice_overran) != 0)
        return -1;
    world.expired = 0;
    world.work = (struct peri_work){.name = "/spin", .source = "app.lua:1", .expired = on_expired};
    lua_register(world.vm.L, "log", lua_log);
    lua_register(world.vm.L, "overruns", lua_overruns);
    lua_register(world.vm.L, "late", lua_late);
    return luaL_dostring(world.vm.L, "sleep = require('perigee.host').time.sleep\n"
                                     "function spin() while true do end end\n"
                                     "function closing(f)\n"
                                     "  return setmetatable({}, {__close = f})\n"
                                     "end");
}

static int tear_down(void **state)
{
    (void) state;
    assert_int_equal(world.vm.tasks.alive, 0);
    assert_int_equal(world.vm.tasks.unyieldable, 0);
    assert_int_equal(world.timers.count, 0);
    assert_null(peri_slice_hooked);
    assert_null(peri_watchdog.runner);
    peri_vm_close(&world.vm);
    peri_watchdog_close();
    peri_timers_close(&world.timers);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    peri_buf_deinit(&world.trace);
    return uv_loop_close(&world.loop);
}

/* --- interrupting ------------------------------------------------------------------------------
 */

static void others_run_while_one_computes(void **state)
{
    (void) state;
    struct run other;
    start(&other, "sleep(1) log('other') done = true");
    does("while not done do end log('computed')", "other computed");
    assert_true(other.ended);
    assert_true(world.vm.tasks.overruns >= 1);
    assert_true(world.work.computes);
    assert_int_equal(world.expired, 0);
}

static void the_result_is_that_of_an_undisturbed_run(void **state)
{
    (void) state;
    does("local n = 0 for i = 1, 3000000 do n = n + i end log(n)", "4500001500000");
}

/* Each takes a few dozen slices, and others run meanwhile. */
static void a_search_is_interrupted_and_goes_on(void **state)
{
    (void) state;
    static const char others[] = "for i = 1, 5 do sleep(1) end done = true";
    struct run other;
    start(&other, others);
    does("local text = ('a'):rep(200) .. 'b'\n"
         "local endless = '.-.-.-%f[b](b)c'\n"
         "repeat local found = text:find(endless) until found == nil and done\n"
         "log(overruns() > 0)\n"
         "log(text:match('^(.-).-.-.-c'))\n"
         "for a, b in (text .. 'c!'):gmatch('(.-.-)(b.-)!') do log(#a .. b) end",
         "true nil 200bc");
    start(&other, "done = false");
    start(&other, others);
    does("local text = (('a'):rep(120) .. 'b'):rep(2)\n"
         "local n = 0\n"
         "local function count(b) n = n + 1 sleep(0) return '<' .. b .. '>' end\n"
         "repeat local a = text:gsub('.-.-.-c', '') until a == text and done\n"
         "log((('x,y'):gsub('%w', '%0%0')))\n"
         "log(select(2, ('x' .. text):gsub('a-a-a-(b)', count)) == 2 and n == 2)\n"
         "log(#(('ab'):rep(2000000):gsub('b', 'cd')))\n"
         "log(#(('ab'):rep(2000000):gsub('(a)', '%1%1')))",
         "xx,yy true 6000000 6000000");
}

static void a_sort_is_interrupted_and_goes_on(void **state)
{
    (void) state;
    struct run other;
    start(&other, "sleep(1) log('other') done = true");
    does("local list = {}\n"
         "for i = 1, 300000 do list[i] = i * 7919 % 1000003 end\n"
         "sleep(0)\n"
         "repeat table.sort(list) until done\n"
         "for i = 2, #list do assert(list[i - 1] <= list[i]) end\n"
         "log('sorted')",
         "other sorted");
}

static void what_only_moves_bytes_is_interrupted_and_goes_on(void **state)
{
    (void) state;
    struct run other;
    start_with(&other, "coroutine.yield() log('other')", true);
    does("log(#late(string.rep, 'abc', 200000, ','))", "other returned 799999");
    start_with(&other, "coroutine.yield() list[1000] = 'changed'", true);
    does("list = {} for i = 1, 1000 do list[i] = 'x' end\n"
         "log(late(table.concat, list, ','):sub(-9))",
         "returned x,changed");
    start_with(&other, "coroutine.yield() list[1000] = false", true);
    does("log(pcall(late, table.concat, list)) list[1000] = 'y'\n"
         "log(select(2, pcall(late, table.concat, list)):sub(-2))",
         "false returned xy");
}

static void a_coroutine_of_the_app_is_interrupted_in_its_place(void **state)
{
    (void) state;
    struct run other;
    start(&other, "sleep(1) done = true");
    does("local co = coroutine.create(function(a)\n"
         "  while not done do end\n"
         "  local b = coroutine.yield(a + 1)\n"
         "  local wrapped = coroutine.wrap(function()\n"
         "    for i = 1, 3000000 do end\n"
         "    coroutine.yield('inner')\n"
         "  end)\n"
         "  return wrapped() .. b\n"
         "end)\n"
         "log(select(2, coroutine.resume(co, 1)))\n"
         "sleep(0)\n"
         "log(select(2, coroutine.resume(co, 'b')))",
         "2 innerb");
}

static void the_hook_of_a_debugger_stays(void **state)
{
    (void) state;
    does("local function hook() end\n"
         "debug.sethook(hook, 'r')\n"
         "while overruns() == 0 do end\n"
         "for i = 1, 1000000 do end\n"
         "local same = 0\n"
         "for i = 1, 100 do same = same + (debug.gethook() == hook and 1 or 0) end\n"
         "log(same > 90)\n" /* ours may be there at this very moment */
         "debug.sethook()",
         "true");
}

static void the_hook_of_a_debugger_hears_of_lines_where_the_task_cannot_be_left(void **state)
{
    (void) state;
    does("local lines, done = 0, false\n"
         "debug.sethook(function() lines = lines + 1 end, 'l')\n"
         "load(function()\n"
         "  if not done then\n"
         "    done = true\n"
         "    while overruns() == 0 do end\n"
         "    local before = lines\n"
         "    local x = 1\n"
         "    x = x + 1\n"
         "    log(lines - before)\n"
         "  end\n"
         "end)\n"
         "debug.sethook()",
         "3");
}

/* --- deadlines ---------------------------------------------------------------------------------
 */

/* Each is a way out of reach. */
#define CLOSING_COROUTINE                                                                          \
    "local co = coroutine.create(function() local c <close> = closing(spin) coroutine.yield() "    \
    "end) "                                                                                        \
    "coroutine.resume(co) assert(coroutine.close(co))"

#define DEAD_COROUTINE                                                                             \
    "local co = coroutine.create(function() local c <close> = closing(spin) spin() end) "          \
    "coroutine.resume(co) coroutine.close(co) spin()"

#define ENDLESS "local endless = '.-.-.-.-b' "

static const char *const traps[] = {
    "spin()",
    "coroutine.wrap(spin)()",
    "coroutine.wrap(function() coroutine.wrap(spin)() end)()",
    "local t = setmetatable({}, {__index = spin}) return t.x",
    "local t = setmetatable({}, {__add = spin}) return t + 1",
    "local t = setmetatable({}, {__lt = spin}) return t < t",
    "tostring(setmetatable({}, {__tostring = spin}))",
    "table.sort({3, 2, 1}, spin)",
    "string.gsub('abc', '.', spin)",
    "while true do load(spin) end",
    "require('perigee.json').encode(setmetatable({}, {__pairs = spin, __index = spin})) spin()",
    "assert(xpcall(spin, spin))",
    "local function deep(n) if n == 0 then spin() end deep(n - 1) return 1 end deep(100000)",
    "assert(xpcall(error, spin))",
    "assert(xpcall(table.sort, spin, {3, 2, 1}, spin))",
    "for _ in spin do end",
    "goto on ::on:: do local c <close> = closing(spin) end",
    "while true do pcall(spin) end",
    "while true do pcall(error) end",
    "while true do xpcall(spin, spin) end",
    "while true do pcall(pcall, pcall, spin) end",
    "while true do coroutine.resume(coroutine.create(spin)) end",
    "while true do pcall(coroutine.wrap(spin)) end",
    "while true do pcall(table.sort, {3, 2, 1}, spin) end",
    "while true do pcall(string.gsub, 'abc', '.', spin) end",
    "while true do pcall(sleep, 1000) end",
    ENDLESS "('a'):rep(30000):find(endless)",
    ENDLESS "('a'):rep(30000):match(endless)",
    ENDLESS "for _ in ('a'):rep(30000):gmatch(endless) do end",
    ENDLESS "('a'):rep(30000):gsub(endless, '')",
    ENDLESS "('a'):rep(30000):gsub(endless, print)",
    ENDLESS "while true do pcall(string.find, ('a'):rep(30000), endless) end",
    ENDLESS "coroutine.wrap(string.find)(('a'):rep(30000), endless)",
    ENDLESS "while true do load(function() ('a'):rep(30000):find(endless) end) end",
    ENDLESS "local c <close> = closing(function() ('a'):rep(30000):find(endless) end) spin()",
    "local c <close> = closing(spin) spin()",
    "local c <close> = closing(spin) sleep(1000000)",
    "coroutine.wrap(function() local c <close> = closing(spin) spin() end)()",
    DEAD_COROUTINE,
    CLOSING_COROUTINE,
};

static void the_deadline_ends_whatever_computes(void **state)
{
    (void) state;
    for (size_t i = 0; i < sizeof(traps) / sizeof(*traps); i++) {
        print_message("    %s\n", traps[i]);
        world.work.timeout_ms = DEADLINE_MS;
        world.work.computes = false;
        world.expired = 0;
        does(traps[i], "cancelled: its deadline has passed");
        assert_int_equal(world.expired, 1);
    }
}

static void what_computes_is_told_once_and_may_clean_up(void **state)
{
    (void) state;
    world.work.timeout_ms = DEADLINE_MS;
    does("local c <close> = closing(function() log('closed') end)\n"
         "log(pcall(spin))\n"
         "local n = 0 for i = 1, 1000000 do n = n + 1 end log(n)",
         "false 1000000 closed");
}

static void what_follows_a_timeout_cleans_up_nothing(void **state)
{
    (void) state;
    struct run other;
    start_with(&other, "while not after do coroutine.yield() end log('other')", true);
    does("pcall(require('perigee.task').timeout, 0, spin) after = true\n"
         "log(#late(string.rep, 'abc', 200000, ','))",
         "other returned 799999");
}

static void a_finalizer_has_one_slice(void **state)
{
    (void) state;
    does("setmetatable({}, {__gc = spin})\n"
         "setmetatable({}, {__gc = function() while true do pcall(spin) end end})\n"
         "setmetatable({}, {__gc = function() local c <close> = closing(spin) spin() end})\n"
         "setmetatable({}, {__gc = function() error(setmetatable({}, {__tostring = spin})) end})\n"
         "setmetatable({}, {__gc = function() log('collected') end})\n"
         "setmetatable({}, {__gc = function() error('broken') end})\n"
         "collectgarbage() collectgarbage() log('on')",
         "collected on");
    assert_int_equal(world.expired, 0);
}

/* A tick may meet any call: then it has an account, too. */
static unsigned stopped_accounts(const struct peri_finalizers *all)
{
    unsigned count = 0;
    for (unsigned i = 0; i < all->account_count; i++)
        count += all->accounts[i].stops > 0;
    return count;
}

/* Within each collection, which the loop cannot leave. */
static void a_flood_of_finalizers_has_its_time_and_no_more(void **state)
{
    (void) state;
    struct peri_finalizers *all = &world.vm.tasks.finalizers;
    all->account_ms = ENDLESS_MS;
    does("local function flood(f) for _ = 1, 2000 do setmetatable({}, {__gc = f}) end end\n"
         "collected = 0\n"
         "flood(function() while true do end end)\n"
         "flood(function() while true do pcall(spin) end end)\n"
         "flood(function() return (('a'):rep(30000):find('.-.-.-.-b')) end)\n"
         "flood(function() collected = collected + 1 end)\n"
         "collectgarbage() collectgarbage() log(collected)",
         "2000");
    assert_int_equal(stopped_accounts(all), 3);
    assert_int_equal(all->skipped, 3 * (2000 - 20)); /* who ends by itself is called */
    assert_int_equal(world.expired, 0);
}

static void more_spinning_finalizers_than_there_are_accounts_share_one(void **state)
{
    (void) state;
    struct peri_finalizers *all = &world.vm.tasks.finalizers;
    all->account_ms = ENDLESS_MS;
    does("for i = 1, 500 do\n"
         "  local chunk = ('\\n'):rep(i) .. 'return function() while true do end end'\n"
         "  setmetatable({}, {__gc = load(chunk, '=generated')()})\n"
         "end\n"
         "collectgarbage() collectgarbage() log('on')",
         "on");
    assert_int_equal(all->account_count, PERI_FINALIZER_ACCOUNTS);
    assert_int_equal(all->skipped, 500 - (PERI_FINALIZER_ACCOUNTS - 1) - 20);
}

static void a_finalizer_is_called_again_when_its_account_is_forgotten(void **state)
{
    (void) state;
    struct peri_finalizers *all = &world.vm.tasks.finalizers;
    const char *flood = "last = nil\n"
                        "for i = 1, 50 do\n"
                        "  setmetatable({}, {__gc = function() last = i while busy do end end})\n"
                        "end\n"
                        "collectgarbage() collectgarbage() log(last)";
    all->account_ms = ENDLESS_MS;
    does("busy = true log('on')", "on");
    does(flood, "31"); /* the youngest first: 20 are called */
    assert_int_equal(stopped_accounts(all), 1);
    assert_int_equal(all->skipped, 30);
    does("busy = false log('on')", "on");
    all->accounts[0].until_ms = 0;
    does(flood, "1");
    assert_int_equal(stopped_accounts(all), 0);
    assert_int_equal(all->skipped, 30);
}

static void finalizers_of_a_vm_that_closes_are_stopped(void **state)
{
    (void) state;
    does("kept = {} for i = 1, 100 do kept[i] = setmetatable({}, {__gc = spin}) end log('on')",
         "on");
    /* the rest is tear_down()'s, which would not come back */
}

static void metatables_are_as_in_the_manual(void **state)
{
    (void) state;
    does("log(select(2, pcall(setmetatable, 1)))", "bad argument #1 to 'setmetatable' (table "
                                                   "expected, got number)");
    does("log(select(2, pcall(setmetatable, {})))",
         "bad argument #2 to 'setmetatable' (nil or table "
         "expected, got no value)");
    does("local t = setmetatable({}, {__metatable = 1}) log(select(2, pcall(setmetatable, t, {})))",
         "cannot change a protected metatable");
    does("local t = {} log(setmetatable(t, nil) == t and getmetatable(t) == nil)", "true");
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(others_run_while_one_computes),
        test(the_result_is_that_of_an_undisturbed_run),
        test(a_search_is_interrupted_and_goes_on),
        test(a_sort_is_interrupted_and_goes_on),
        test(what_only_moves_bytes_is_interrupted_and_goes_on),
        test(a_coroutine_of_the_app_is_interrupted_in_its_place),
        test(the_hook_of_a_debugger_stays),
        test(the_hook_of_a_debugger_hears_of_lines_where_the_task_cannot_be_left),
        test(the_deadline_ends_whatever_computes),
        test(what_computes_is_told_once_and_may_clean_up),
        test(what_follows_a_timeout_cleans_up_nothing),
        test(a_finalizer_has_one_slice),
        test(a_flood_of_finalizers_has_its_time_and_no_more),
        test(more_spinning_finalizers_than_there_are_accounts_share_one),
        test(a_finalizer_is_called_again_when_its_account_is_forgotten),
        test(finalizers_of_a_vm_that_closes_are_stopped),
        test(metatables_are_as_in_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
