/* table.sort, table.insert, string.find and their families against Lua's own: the same chunk runs
 * in a state with ours and in one without, and says the same. What they add (waiting, slices) is in
 * task_test.c and slice_test.c. */
#include "callbacks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

/* Runs a chunk and keeps what it returned, as one text. */
static void run(const char *chunk, bool ours, char *said, size_t size)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    if (ours)
        peri_callbacks_open(L);
    int rc = luaL_loadbuffer(L, chunk, strlen(chunk), "=chunk") || lua_pcall(L, 0, 1, 0);
    snprintf(said, size, "%s%s", rc != 0 ? "error: " : "", luaL_tolstring(L, -1, NULL));
    lua_close(L);
}

static void same(const char *chunk)
{
    static char lua[1 << 20];
    static char ours[1 << 20];
    run(chunk, false, lua, sizeof(lua));
    run(chunk, true, ours, sizeof(ours));
    size_t at = 0;
    while (lua[at] != '\0' && lua[at] == ours[at])
        at++;
    if (lua[at] != ours[at]) /* the text may be long */
        fail_msg("Lua says ...%.100s\nand we say ...%.100s", lua + (at < 20 ? 0 : at - 20),
                 ours + (at < 20 ? 0 : at - 20));
}

#define SHOW                                                                                       \
    "local function show(...)\n"                                                                   \
    "  local list = table.pack(...)\n"                                                             \
    "  for i = 1, list.n do list[i] = tostring(list[i]) end\n"                                     \
    "  return table.concat(list, '|')\n"                                                           \
    "end\n"

static void sorting_asks_the_same_questions(void **state)
{
    (void) state;
    same("local asked, all = {}, {}\n"
         "local seed = 1\n"
         "local function random(n) seed = (seed * 1103515245 + 12345) % 2147483648\n"
         "  return seed // 65536 % n end\n"
         "for n = 0, 70 do for _, kinds in ipairs({1, 3, 1000}) do\n"
         "  local list = {}\n"
         "  for i = 1, n do list[i] = random(kinds) end\n"
         "  table.sort(list, function(a, b) asked[#asked + 1] = a .. '<' .. b return a < b end)\n"
         "  all[#all + 1] = table.concat(list, ',')\n"
         "end end\n"
         "return table.concat(all, ';') .. table.concat(asked, ',')");
}

static void sorting_is_right_for_any_shape(void **state)
{
    (void) state;
    char said[100];
    run("local shapes = {function(i) return i end, function(i) return -i end,\n"
        "  function() return 1 end, function(i) return i % 7 end,\n"
        "  function(i, n) return i < n / 2 and i or n - i end,\n"
        "  function(i) return i * 7919 % 10007 end}\n"
        "for _, shape in ipairs(shapes) do\n"
        "  local list, sum, n = {}, 0, 20000\n"
        "  for i = 1, n do list[i] = shape(i, n) sum = sum + list[i] end\n"
        "  local asked = 0\n"
        "  table.sort(list, function(a, b) asked = asked + 1 return a > b end)\n"
        "  for i = 1, n do sum = sum - list[i] assert(i == 1 or list[i - 1] >= list[i]) end\n"
        "  assert(sum == 0 and #list == n and asked < 1000000)\n"
        "end\n"
        "return 'sorted'",
        true, said, sizeof(said));
    assert_string_equal(said, "sorted");
}

/* Lua's own sorts short ones; long ones are ours. */
static void sorting_by_value_is_as_in_lua(void **state)
{
    (void) state;
    same(SHOW "local said = {}\n"
              "local class = {__lt = function(a, b) return a.n < b.n end}\n"
              "for _, n in ipairs({0, 1, 10, 999, 1000, 1001, 5000}) do\n"
              "  local numbers, strings, objects = {}, {}, {}\n"
              "  for i = 1, n do\n"
              "    numbers[i] = i * 7919 % 1009 + (i % 2 == 0 and 0.5 or 0)\n"
              "    strings[i] = tostring(numbers[i])\n"
              "    objects[i] = setmetatable({n = numbers[i]}, class)\n"
              "  end\n"
              "  table.sort(numbers) table.sort(strings, nil) table.sort(objects)\n"
              "  for i = 1, n do objects[i] = objects[i].n end\n"
              "  said[#said + 1] = table.concat(numbers, ',') .. table.concat(strings, ',')\n"
              "    .. table.concat(objects, ',')\n"
              "end\n"
              "local mixed = {} for i = 1, 2000 do mixed[i] = i % 2 == 0 and i or 'x' end\n"
              "said[#said + 1] = show(pcall(table.sort, mixed))\n"
              "for i = 1, 2000 do mixed[i] = {} end\n"
              "said[#said + 1] = show(pcall(function() table.sort(mixed) end))\n"
              "return table.concat(said, ';')");
}

static void sorting_fails_as_in_lua(void **state)
{
    (void) state;
    static const char *const calls[] = {
        "table.sort, {3, 1, 2, 5, 4}, function() return true end",
        "table.sort, {1, 1, 1, 1, 1}, function(a, b) return a <= b end",
        "table.sort, {1, 'x'}, function(a, b) return a < b end",
        "table.sort, {1, 2}, 5",
        "table.sort, {1}, 5",
        "table.sort, {}, 5",
        "table.sort, 5, function() end",
        "table.sort",
        "table.sort, {1, 2}, function() error('x') end",
        "table.sort, {1, 2}, function() error({}, 0) end and nil",
        "table.sort, setmetatable({}, {__len = function() return math.maxinteger end}), print",
        "table.sort, setmetatable({}, {__len = function() return 'x' end}), print",
        "table.sort, {3, 2, 1, n = 1}, nil",
    };
    char chunk[500];
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        snprintf(chunk, sizeof(chunk),
                 SHOW "return show(pcall(%s)) .. show(pcall(function() local t = {%s}\n"
                      "t[1](table.unpack(t, 2)) end))",
                 calls[i], calls[i]);
        same(chunk);
    }
}

static void sorting_honours_metamethods(void **state)
{
    (void) state;
    same(SHOW "local data = {5, 3, 4, 1, 2}\n"
              "local list = setmetatable({}, {__len = function() return 5 end,\n"
              "  __index = function(_, k) return data[k] end,\n"
              "  __newindex = function(_, k, v) data[k] = v end})\n"
              "table.sort(list, function(a, b) return a < b end)\n"
              "return show(table.unpack(data))");
}

/* Each text with each pattern, replaced in each way. */
/* Lua's own shifts few; many are ours, and so is what has a metatable. */
static void shifting_is_as_in_lua(void **state)
{
    (void) state;
    same(SHOW
         "local said = {}\n"
         "local class = {__len = function(t) return rawlen(t) end,\n"
         "  __index = function(_, i) return -i end,\n"
         "  __newindex = function(t, i, v) said[#said + 1] = 'new ' .. i rawset(t, i, v) end}\n"
         "local function list(n, with)\n"
         "  local t = {} for i = 1, n do t[i] = i end\n"
         "  return with and setmetatable(t, class) or t\n"
         "end\n"
         "local function say(t, ...) said[#said + 1] = show(...) .. ':' .. \n"
         "  table.concat(t, ',', 1, rawlen(t)) .. show(next(t, rawlen(t))) end\n"
         "for _, n in ipairs({0, 1, 2, 999, 1000, 1001, 3000}) do\n"
         "  for with = 0, 1 do\n"
         "    for _, at in ipairs({1, 2, 500, 1000, n - 1, n, n + 1, n + 2, 0, -1, '2', 1.5}) do\n"
         "      local t = list(n, with == 1)\n"
         "      say(t, pcall(table.insert, t, at, 'x'))\n"
         "      t = list(n, with == 1)\n"
         "      say(t, pcall(table.remove, t, at))\n"
         "      say(t, pcall(table.remove, t, nil, 1))\n"
         "      local u = list(5, with == 1)\n"
         "      say(t, select('#', table.move(t, 1, n, at // 1 + 1)))\n"
         "      say(t, table.move(t, 2, n, 1) == t)\n"
         "      say(t, table.move(t, 1, n - 1, 2) == t)\n"
         "      say(u, table.move(t, 1, n, 3, u) == u)\n"
         "      say(u, table.move(t, -n, n // 2, -3, u) == u)\n"
         "    end\n"
         "  end\n"
         "end\n"
         "return table.concat(said, ';')");
}

static void shifting_fails_as_in_lua(void **state)
{
    (void) state;
    static const char *const calls[] = {
        "table.insert",
        "table.insert, {}",
        "table.insert, 5, 1, 1",
        "table.insert, {}, 1, 2, 3",
        "table.insert, setmetatable({}, {__len = function() return 'x' end}), 1, 1",
        "table.insert, setmetatable({}, {__len = function() return 2000 end}), 2002, 1",
        "table.insert, setmetatable({}, {__len = function() return math.maxinteger end}), 0, 1",
        "table.insert, setmetatable({}, {}), 'x', 1",
        "table.remove, 5, 1",
        "table.remove, setmetatable({}, {}), 2",
        "table.remove, setmetatable({}, {}), {}",
        "table.remove, setmetatable({}, {__len = function() return -5 end}), -5",
        "table.move, {}, 1, math.maxinteger, 2",
        "table.move, {}, math.mininteger, 1, 2",
        "table.move, {}, 1, 2000, math.maxinteger",
        "table.move, {}, 1, 2000, {}",
        "table.move, {}, 1, 2000.5, 1",
        "table.move, {}, 1, 2000, 1, 5",
        "table.move, 5, 1, 2000, 1",
        "string.rep",
        "string.rep, ''",
        "string.rep, '', {}",
        "string.rep, '', 5, {}",
        "string.rep, 'x', 1 << 62",
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        char chunk[300];
        snprintf(chunk, sizeof(chunk), SHOW "return show(pcall(%s))", calls[i]);
        same(chunk);
    }
    same(SHOW "return show(('x'):rep(0), ('x'):rep(-1), ('x'):rep(3, ','), (''):rep(3, ','), "
              "(''):rep(1000), (''):rep(5, ''), string.rep(12, '2', 3))");
}

static void repeating_much_is_as_in_lua(void **state)
{
    (void) state;
    same("local function sum(text)\n"
         "  local h = #text\n"
         "  for i = 1, #text, 97 do h = (h * 31 + text:byte(i)) % 1000000007 end\n"
         "  return h .. text:sub(1, 20) .. text:sub(-20)\n"
         "end\n"
         "local said = {}\n"
         "local long = ('0123456789abcdef'):rep(20000)\n"
         "for _, text in ipairs({'', 'x', 'abc', long}) do\n"
         "  for _, between in ipairs({'', ',', '<->', long}) do\n"
         "    for _, n in ipairs({-1, 0, 1, 2, 3, 7}) do\n"
         "      said[#said + 1] = sum(text:rep(n, between))\n"
         "    end\n"
         "    if #text + #between < 10 then\n"
         "      for _, n in ipairs({4095, 4096, 4097, 100000, 262145}) do\n"
         "        said[#said + 1] = sum(text:rep(n, between))\n"
         "      end\n"
         "    end\n"
         "  end\n"
         "end\n"
         "return table.concat(said, ';')");
    same(SHOW "return show(#(12):rep(5000), (1.5):rep('5000', 7):sub(-9), pcall(string.rep, 'xy', "
              "math.maxinteger), pcall(string.rep, 'x', 5000, {}))");
}

static void joining_is_as_in_lua(void **state)
{
    (void) state;
    same("local said = {}\n"
         "for _, n in ipairs({0, 1, 99, 100, 101, 300, 5000}) do\n"
         "  local list = {}\n"
         "  for i = 1, n do\n"
         "    list[i] = i % 5 == 0 and '' or i % 3 == 0 and i / 2 or i % 2 == 0 and i or 'x' .. i\n"
         "  end\n"
         "  for _, between in ipairs({'', ',', 7, ('-'):rep(1000)}) do\n"
         "    said[#said + 1] = table.concat(list, between)\n"
         "    said[#said + 1] = table.concat(list, between, 2)\n"
         "    said[#said + 1] = table.concat(list, between, 20.0, n - 2)\n"
         "    said[#said + 1] = table.concat(list, between, 5, 4)\n"
         "  end\n"
         "end\n"
         "local large = {}\n"
         "for i = 1, 120 do large[i] = ('x'):rep(i * 5000) end\n"
         "said[#said + 1] = #table.concat(large, ('y'):rep(300000))\n"
         "return table.concat(said, ';')");
    static const char *const calls[] = {
        "table.concat, holed",
        "table.concat, holed, ','",
        "table.concat, full, {}",
        "table.concat, full, ',', {}",
        "table.concat, full, ',', 1.5",
        "table.concat, full, ',', 1, {}",
        "table.concat, full, ',', 1, 101",
        "table.concat, full, ',', 0",
        "table.concat, full, ',', '2', '3', 5",
        "table.concat, full, nil, nil, nil",
        "table.concat, full, ',', 99, math.maxinteger",
        "table.concat, full, ',', math.maxinteger, math.maxinteger",
        "table.concat, setmetatable(full, {__index = function() return 'z' end}), '', 99, 110",
        "table.concat, setmetatable(full, {__len = function() return 2 end})",
        "table.concat, setmetatable({}, {__len = function() return 140 end, __index = full}), '+'",
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        char chunk[500];
        snprintf(chunk, sizeof(chunk),
                 SHOW "local full, holed = {}, {}\n"
                      "for i = 1, 100 do full[i], holed[i] = i, i end holed[70] = print\n"
                      "return show(pcall(%s))",
                 calls[i]);
        same(chunk);
    }
}

static void replacing_is_as_in_lua(void **state)
{
    (void) state;
    same(SHOW "local texts = {'', 'a', 'abc', 'aaa', 'hello world', ' a b  c ', 'x\\0y\\0', '%d', "
              "'a.b',\n"
              "  ('ab'):rep(200), 'THE (quick) fox', 42}\n"
              "local patterns = {'', 'a', '.', 'a*', 'a-', '^', '^a', '^a*', '$', 'a$', '%w+', "
              "'%w*', '()',\n"
              "  '(a)(b)', '(%w)()', '%s*', '%f[%w]%w+', '(.)%1', '%b()', '[^a]', 'b-', '%z', "
              "'ab?', '.-b',\n"
              "  '^%s*', '%s*$', '(%w*)', '((a)(b))', '%', '[', '(', ')', '%f', '%b', '(()', '%1', "
              "'^^', 4}\n"
              "local ways = {\n"
              "  function(...) return '<' .. show(...) .. '>' end,\n"
              "  function() end, function() return false end, function() return 7 end,\n"
              "  function(a) return a end, function(a) return '%0' .. tostring(a) end,\n"
              "  setmetatable({}, {__index = function(_, k) return '[' .. k .. ']' end}),\n"
              "  setmetatable({a = 'A'}, {__index = {b = 'B', ab = false}}),\n"
              "  setmetatable({a = 'A'}, {}), {a = 'A'}, 'x%0', string.upper,\n"
              "}\n"
              "local said = {}\n"
              "for _, text in ipairs(texts) do for _, pattern in ipairs(patterns) do\n"
              "  for _, way in ipairs(ways) do for _, limit in ipairs({-1, 0, 1, 2, 1000}) do\n"
              "    local r = show(pcall(function()\n"
              "      return string.gsub(text, pattern, way, limit ~= 1000 and limit or nil) end))\n"
              "    local sum = 0\n"
              "    for i = 1, #r do sum = (sum * 31 + r:byte(i)) & 0xffffffff end\n"
              "    said[#said + 1] = #r < 20 and r or sum\n"
              "  end end\n"
              "end end\n"
              "return table.concat(said, '\\n')");
}

static void replacing_fails_as_in_lua(void **state)
{
    (void) state;
    static const char *const calls[] = {
        "('a'):gsub('a', function() return {} end)",
        "('a'):gsub('a', function() return true end)",
        "('a'):gsub('a', function() error('x') end)",
        "('a'):gsub('a', setmetatable({}, {__index = function() return print == nil or {} end}))",
        "('a'):gsub('a', setmetatable({}, {__index = function() error('y', 0) end}))",
        "string.gsub({}, 'a', print)",
        "string.gsub('a', {}, print)",
        "string.gsub('a', 'a')",
        "string.gsub('a', 'a', nil)",
        "string.gsub('a', 'a', print, 'x')",
        "('a'):gsub('(', print)",
        "('a'):gsub('%', print)",
        "('a'):gsub('[a', print)",
        "('a'):gsub(('()'):rep(40), print)",
        "('a'):gsub(('()'):rep(32), function(...) return select('#', ...) end)",
        "('a'):rep(300000):gsub(('.-'):rep(300000) .. 'b', print)",
        "#('abc'):rep(100000):gsub('b', function(b) return b:rep(3) end)",
    };
    char chunk[500];
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        snprintf(chunk, sizeof(chunk), SHOW "return show(pcall(function() return %s end))",
                 calls[i]);
        same(chunk);
    }
}

/* Random calls, from a fixed seed, of all that searches. */
static void searching_is_as_in_lua(void **state)
{
    (void) state;
    same(SHOW
         "local seed = 7\n"
         "local function random(n) seed = (seed * 1103515245 + 12345) % 2147483648\n"
         "  return seed // 65536 % n + 1 end\n"
         "local pieces = {'a', 'b', '.', '%a', '%d', '%s', '[ab]', '[^a]', '(', ')', '()', '%1',\n"
         "  '%b()', '%f[%w]', '%', '^', '$', '*', '+', '-', '?', '*', '(a)', '(.-)', '%0', ' '}\n"
         "local ways = {'x', '%0', '<%1>', '%2', '%%', '%', '%a', '', 5, string.upper, {a = 'A'},\n"
         "  function(...) return (select('#', ...)) end, function() end, true}\n"
         "local said = {}\n"
         "for _ = 1, 8000 do\n"
         "  local text, pattern = {}, {}\n"
         "  for i = 1, random(14) - 1 do text[i] = (' aab(1)b'):sub(random(8)):sub(1, 1) end\n"
         "  for i = 1, random(5) do pattern[i] = pieces[random(#pieces)] end\n"
         "  text, pattern = table.concat(text), table.concat(pattern)\n"
         "  local from, way = random(20) - 10, ways[random(#ways)]\n"
         "  said[#said + 1] = show(pcall(function()\n"
         "    return show(pcall(string.find, text, pattern, from, random(9) == 1))\n"
         "      .. show(pcall(string.match, text, pattern, from))\n"
         "      .. show(pcall(string.gsub, text, pattern, way, random(3) == 1 and from or nil))\n"
         "      .. show(text:find(pattern)) end))\n"
         "  pcall(function() for a, b in text:gmatch(pattern, random(3) == 1 and from or nil) do\n"
         "    said[#said + 1] = show(a, b) end end)\n"
         "end\n"
         "return table.concat(said, '\\n'):gsub('function: %S+', 'f')");
    same(SHOW
         "return show(pcall(string.find)) .. show(pcall(string.find, 'a'))\n"
         "  .. show(pcall(string.find, 'a', 'a', 'x')) .. show(pcall(string.match, {}, 'a'))\n"
         "  .. show(pcall(string.gmatch, 'a')) .. show(pcall(string.gmatch, 'a', 'a', {}))\n"
         "  .. show(pcall(string.gmatch('a', '('))) .. show(string.gmatch('a', '^a')())\n"
         "  .. show(string.find(12, 2)) .. show(string.match(12.5, '%p')) .. show(('a'):find(''))\n"
         "  .. show(('a'):find('', 3)) .. show(('a'):find('', 2)) .. show(('a'):match('', 3))\n"
         "  .. show(('a'):find('', math.mininteger)) .. show(('a'):find('', math.maxinteger))\n"
         "  .. show(('a.b'):find('.', 2, true)) .. show(('a]b)'):find(')'))\n"
         "  .. show(('a\\0b'):find('\\0')) .. show(('a\\0b'):find('\\0b', 1, true))\n"
         "  .. show(pcall(string.gsub, 'a', 'a', nil, 'x')) .. show(pcall(string.gsub, 1, 1, 2))\n"
         "  .. show(('a'):gsub('a', 'b', 1, 2, 3, 4)) .. show(('abc'):gsub('^%a', '%0%0'))\n"
         "  .. show(pcall(function() return ('a'):match('(') end))");
}

/* A comparator may leave by coroutine.yield, and an iterator may be a match. */
static void a_coroutine_may_yield_within(void **state)
{
    (void) state;
    char said[200];
    run("local list = {3, 1, 2, 5, 4}\n"
        "local co = coroutine.wrap(function()\n"
        "  table.sort(list, function(a, b) coroutine.yield() collectgarbage() return a < b end)\n"
        "  return (('a-b-c'):gsub('%w', function(c)\n"
        "    collectgarbage() return c .. coroutine.yield(c) end))\n"
        "end)\n"
        "local said, value = {}, nil\n"
        "repeat value = co(1) said[#said + 1] = value until value and #value > 1\n"
        "return table.concat(list) .. table.concat(said, ' ')",
        true, said, sizeof(said));
    assert_string_equal(said, "12345a b c a1-b1-c1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorting_asks_the_same_questions),
        cmocka_unit_test(sorting_is_right_for_any_shape),
        cmocka_unit_test(sorting_by_value_is_as_in_lua),
        cmocka_unit_test(sorting_fails_as_in_lua),
        cmocka_unit_test(sorting_honours_metamethods),
        cmocka_unit_test(shifting_is_as_in_lua),
        cmocka_unit_test(shifting_fails_as_in_lua),
        cmocka_unit_test(repeating_much_is_as_in_lua),
        cmocka_unit_test(joining_is_as_in_lua),
        cmocka_unit_test(replacing_is_as_in_lua),
        cmocka_unit_test(replacing_fails_as_in_lua),
        cmocka_unit_test(searching_is_as_in_lua),
        cmocka_unit_test(a_coroutine_may_yield_within),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
