/* What Lua sees: values and their methods, defaults, checks, the datetime family, and the text that
 * a response type makes of a value. Each test is a chunk that raises when it finds something wrong.
 */
#include "json_lua.h"
#include "schema.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static lua_State *L;

static int open_vm(void **state)
{
    (void) state;
    L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_perigee_json, 1);
    luaL_requiref(L, "schema", luaopen_perigee_schema, 1);
    lua_settop(L, 0);
    return luaL_dostring(
        L, "t = setmetatable({}, { __index = function(_, kind)\n"
           "  return function(node)\n"
           "    node.kind = kind\n"
           "    return node\n"
           "  end\n"
           "end })\n"
           "compile = schema.compile\n"
           "function eq(got, want)\n"
           "  if got ~= want then\n"
           "    error(('want %s, got %s'):format(tostring(want), tostring(got)), 2)\n"
           "  end\n"
           "end\n"
           "function fails(want, fn, ...)\n"
           "  local ok, message = pcall(fn, ...)\n"
           "  if ok or not tostring(message):find(want, 1, true) then\n"
           "    error(('want an error with %s, got %s'):format(want, tostring(message)), 2)\n"
           "  end\n"
           "end\n"
           "Item = t.model{ name = 'Item', fields = { { 'name', t.string{ min_length = 1 } },\n"
           "  { 'price', t.number{ gt = 0 } }, { 'tax', t.number{ default = 10.5 } },\n"
           "  { 'note', t.string{ optional = true } },\n"
           "  { 'tags', t.array{ item = t.string{}, default = {} } } } }\n");
}

static int close_vm(void **state)
{
    (void) state;
    lua_close(L);
    return 0;
}

static void run(const char *chunk)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_settop(L, 0);
}

static void a_model_knows_which_fields_were_set(void **state)
{
    (void) state;
    run("local program = compile(Item)\n"
        "local item = program:validate_json('{\"name\":\"a\",\"price\":1,\"note\":null}')\n"
        "local set = item:fields_set()\n"
        "assert(set.name and set.price and set.note and not set.tax and not set.tags)\n"
        "for key in pairs(item) do assert(key ~= 'fields_set') end\n"
        "eq(item.tax, 10.5)\n"
        "eq(item.note, nil)\n"
        "set.name = nil\n"
        "assert(item:fields_set().name, 'a copy each time')\n"
        "eq(getmetatable(item).__name, 'Item')\n");
    run("local value = compile(t.model{ name = 'M', fields = { { 'fields_set', t.integer{} } } })\n"
        "  :validate{ fields_set = 5 }\n"
        "eq(value.fields_set, 5)\n");
}

static void more_fields_than_a_word_has_bits_are_told_apart(void **state)
{
    (void) state;
    run("local fields = {}\n"
        "for i = 1, 70 do fields[i] = { 'f' .. i, t.integer{ optional = true } } end\n"
        "local program = compile(t.model{ name = 'Wide', fields = fields })\n"
        "local set = program:validate{ f1 = 1, f64 = 2, f65 = 3, f70 = 4 }:fields_set()\n"
        "assert(set.f1 and set.f64 and set.f65 and set.f70 and not set.f2 and not set.f66)\n");
}

static void defaults_are_fresh_each_time(void **state)
{
    (void) state;
    run("local calls = 0\n"
        "local program = compile(t.model{ name = 'D', fields = {\n"
        "  { 'list', t.array{ item = t.any{}, default = { { 1 } } } },\n"
        "  { 'day', t.date{ default = '2020-01-02' } },\n"
        "  { 'made', t.integer{ default = function() calls = calls + 1 return calls end } },\n"
        "  { 'odd', t.integer{ ge = 5, default = 1 } },\n"
        "  { 'none', t.integer{ nullable = true, default = json.null } } } })\n"
        "local a, b = program:validate{}, program:validate{}\n"
        "a.list[1][1] = 2\n"
        "eq(b.list[1][1], 1)\n"
        "eq(a.day.day, 2)\n"
        "eq(a.made + b.made, 3)\n"
        "eq(a.odd, 1)\n"
        "eq(a.none, json.null)\n");
}

static void null_and_absent_are_kept_apart(void **state)
{
    (void) state;
    run("local program = compile(t.model{ name = 'N', fields = {\n"
        "  { 'a', t.integer{ optional = true } }, { 'b', t.integer{ nullable = true } },\n"
        "  { 'c', t.integer{ optional = true, nullable = true } } } })\n"
        "local v = program:validate_json('{\"a\":null,\"b\":null,\"c\":null}')\n"
        "eq(v.a, nil)\n"
        "eq(v.b, json.null)\n"
        "eq(v.c, json.null)\n"
        "eq(program:validate_json('{\"b\":1}').c, nil)\n"
        "local list = compile(t.array{ item = t.integer{ optional = true } })\n"
        "eq(json.encode(list:validate_json('[1,null,2]')), '[1,null,2]')\n");
}

static void collections_keep_their_shape(void **state)
{
    (void) state;
    run("local program = compile(t.model{ name = 'C', fields = { { 'a', t.array{} },\n"
        "  { 'm', t.map{} }, { 's', t.set{ item = t.integer{} } },\n"
        "  { 'k', t.map{ key = t.integer{}, value = t.string{} } } } })\n"
        "local v = program:validate_json('{\"a\":[],\"m\":{},\"s\":[2,1,2],\"k\":{\"7\":\"x\"}}')\n"
        "eq(json.encode(v.a), '[]')\n"
        "eq(json.encode(v.m), '{}')\n"
        "eq(json.encode(v.s), '[2,1]')\n"
        "eq(v.k[7], 'x')\n"
        "local again = program:validate(v)\n"
        "eq(program:encode(again), '{\"a\":[],\"m\":{},\"s\":[2,1],\"k\":{\"7\":\"x\"}}')\n");
}

static void recursive_models_are_one_type(void **state)
{
    (void) state;
    run("local Node\n"
        "Node = t.model{ name = 'Node', fields = { { 'value', t.integer{} },\n"
        "  { 'next', t.ref{ target = function() return Node end, optional = true } } } }\n"
        "local program = compile(Node)\n"
        "local v = program:validate_json('{\"value\":1,\"next\":{\"value\":\"2\"}}')\n"
        "eq(v.next.value, 2)\n"
        "eq(v.next.next, nil)\n"
        "local _, errors = program:validate_json('{\"value\":1,\"next\":{\"value\":\"x\"}}')\n"
        "eq(json.encode(errors[1].loc), '[\"next\",\"value\"]')\n");
}

static void json_mode_lets_strict_types_take_their_json_spelling(void **state)
{
    (void) state;
    run("local day = compile(t.date{ strict = true })\n"
        "eq(tostring(day:validate_json('\"2020-01-02\"')), '2020-01-02')\n"
        "local _, errors = day:validate('2020-01-02')\n"
        "eq(errors[1].type, 'date_type')\n"
        "eq(tostring(day:validate(day:validate_json('\"2020-01-02\"'))), '2020-01-02')\n"
        "_, errors = compile(Item):validate_json('[]')\n"
        "eq(errors[1].msg, 'Input should be an object')\n"
        "_, errors = compile(Item):validate_json('{')\n"
        "eq(errors[1].type, 'json_invalid')\n"
        "_, errors = compile(t.integer{}):validate(print)\n"
        "eq(errors[1].input, 'function')\n");
}

static void the_datetime_family_counts_like_pythons(void **state)
{
    (void) state;
    run("local function of(kind)\n"
        "  local program = compile(t[kind]{})\n"
        "  return function(text) return (assert(program:validate(text))) end\n"
        "end\n"
        "local datetime, date, time, duration = of'datetime', of'date', of'time', of'duration'\n"
        "local a = datetime'2020-02-28T23:30:00+01:00'\n"
        "local b = datetime'2020-02-28T22:30:00Z'\n"
        "eq(a, b)\n"
        "eq(tostring(a - b), 'PT0S')\n"
        "eq(tostring(a + duration'P1D'), '2020-02-29T23:30:00+01:00')\n"
        "eq(tostring(duration'PT0.5S' + b), '2020-02-28T22:30:00.500000Z')\n"
        "eq((datetime'2020-03-01T00:00:00Z' - b).seconds, 91800)\n"
        "assert(b < datetime'2020-02-28T22:30:00.000001Z' and b <= a)\n"
        "eq(a.offset, 3600)\n"
        "eq(a.timestamp, b.timestamp)\n"
        "eq(datetime'2020-01-02'.offset, nil)\n"
        "eq(tostring(date'2020-03-01' - date'2020-02-28'), 'P2D')\n"
        "eq(tostring(date'2020-02-28' + duration'P1DT23H'), '2020-02-29')\n"
        "eq(tostring(duration'PT1H' * 1.5), 'PT1H30M')\n"
        "eq(tostring(-duration'PT0.25S'), '-PT0.25S')\n"
        "eq(duration'P1DT12H'.days, 1.5)\n"
        "eq(date'2020-03-04'.month, 3)\n"
        "eq(time'10:20:30.5'.microsecond, 500000)\n"
        "eq(time'10:20'.year, nil)\n"
        "eq('at ' .. date'2020-03-04', 'at 2020-03-04')\n"
        "eq(json.encode{ a, duration'P1D' }, '[\"2020-02-28T23:30:00+01:00\",\"P1D\"]')\n"
        "assert(date'2020-03-04' ~= datetime'2020-03-04')\n"
        "fails('a naive and an aware datetime', function() return a < datetime'2020-01-01' end)\n"
        "fails('cannot subtract a datetime and a date', function() return a - date'2020-01-01' "
        "end)\n"
        "fails('out of range', function() return date'9999-12-31' + duration'P1D' end)\n"
        "fails('out of range', function() return duration'P999999999D' * 1e300 end)\n");
}

static void checks_run_on_valid_input_and_may_refuse(void **state)
{
    (void) state;
    run("local seen = 0\n"
        "local function check(fn, when) return { { when = when or 'after', fn = fn } } end\n"
        "local M = t.model{ name = 'M', fields = {\n"
        "  { 'word', t.string{ checks = check(function(v)\n"
        "    seen = seen + 1\n"
        "    if v == 'bad' then return nil, 'no bad words' end\n"
        "    return v:upper()\n"
        "  end) } },\n"
        "  { 'list', t.array{ item = t.integer{}, default = {}, checks = check(function(v)\n"
        "    if type(v) == 'string' then\n"
        "      local list = {}\n"
        "      for item in v:gmatch('[^,]+') do list[#list + 1] = item end\n"
        "      return list\n"
        "    end\n"
        "  end, 'before') } },\n"
        "  { 'on', t.boolean{ default = true, checks = check(function() end) } } },\n"
        "  checks = check(function(v)\n"
        "    if #v.list > 2 then return nil, 'too many for ' .. v.word end\n"
        "  end) }\n"
        "local program = compile(M)\n"
        "local v = program:validate{ word = 'a', list = '1,2', on = false }\n"
        "eq(v.word, 'A')\n"
        "eq(v.list[2], 2)\n"
        "eq(v.on, false)\n"
        "local _, errors = program:validate{ word = 'bad', list = '1,x' }\n"
        "eq(#errors, 2)\n"
        "eq(errors[1].msg, 'Value error, no bad words')\n"
        "eq(json.encode(errors[1].ctx), '{\"error\":{}}')\n"
        "eq(json.encode(errors[2].loc), '[\"list\",1]')\n"
        "_, errors = program:validate{ word = 'a', list = { 1, 2, 3 } }\n"
        "eq(errors[1].msg, 'Value error, too many for A')\n"
        "eq(#errors[1].loc, 0)\n"
        "local before = seen\n"
        "_, errors = program:validate{ word = 'a', on = 'maybe' }\n"
        "eq(errors[1].type, 'bool_parsing')\n"
        "eq(seen, before)\n");
    run("local program = compile(t.string{ checks = { { fn = function() error('a bug') end } } })\n"
        "fails('a bug', program.validate, program, 'x')\n");
}

static void a_response_is_filtered_and_ordered_by_its_type(void **state)
{
    (void) state;
    run("local full = { price = 1, name = 'a', secret = 'x', tags = { 'b' } }\n"
        "eq(compile(Item):encode(full),\n"
        "  '{\"name\":\"a\",\"price\":1.0,\"tax\":10.5,\"note\":null,\"tags\":[\"b\"]}')\n"
        "local function with(options, value) return (assert(compile(Item, options):encode(value))) "
        "end\n"
        "eq(with({ exclude_unset = true }, full), "
        "'{\"name\":\"a\",\"price\":1.0,\"tags\":[\"b\"]}')\n"
        "eq(with({ exclude_defaults = true }, { name = 'a', price = 1, tax = 10.5, tags = {} }),\n"
        "  '{\"name\":\"a\",\"price\":1.0}')\n"
        "eq(with({ exclude_none = true }, { name = 'a', price = 1, tags = {} }),\n"
        "  '{\"name\":\"a\",\"price\":1.0,\"tax\":10.5,\"tags\":[]}')\n"
        "eq(with({ include = { 'name', 'tax' } }, full), '{\"name\":\"a\",\"tax\":10.5}')\n"
        "eq(with({ exclude = { 'tax', 'tags', 'note' } }, full), "
        "'{\"name\":\"a\",\"price\":1.0}')\n"
        "local item = compile(Item):validate{ name = 'a', price = 2, note = json.null }\n"
        "eq(with({ exclude_unset = true }, item), '{\"name\":\"a\",\"price\":2.0,\"note\":null}')\n"
        "item.tax = 3\n"
        "eq(with({ exclude_unset = true }, item),\n"
        "  '{\"name\":\"a\",\"price\":2.0,\"tax\":3.0,\"note\":null}')\n");
    run("local Pair = t.model{ name = 'Pair', fields = { { 'a', Item }, { 'b', t.array{ item = "
        "Item } } } }\n"
        "local value = { a = { name = 'a', price = 1 }, b = { { name = 'b', price = 2 } } }\n"
        "eq(compile(Pair, { include = { a = { 'name' }, b = { __all__ = { 'price' } } } })\n"
        "  :encode(value), '{\"a\":{\"name\":\"a\"},\"b\":[{\"price\":2.0}]}')\n"
        "eq(compile(Pair, { exclude = { a = { 'tax', 'note', 'tags' }, b = true } "
        "}):encode(value),\n"
        "  '{\"a\":{\"name\":\"a\",\"price\":1.0}}')\n");
}

static void what_stays_out_of_a_response_keeps_its_type_too(void **state)
{
    (void) state;
    run("local function with(options, value)\n"
        "  local text, problem = compile(Item, options):encode(value)\n"
        "  return text or tostring(problem)\n"
        "end\n"
        "local function refuses(word, options, value)\n"
        "  local text = with(options, value)\n"
        "  assert(text:find(word, 1, true) and text:sub(1, 1) ~= '{', text)\n"
        "end\n"
        "local no_name = { name = json.null, price = 1, tags = {} }\n"
        "refuses('name', {}, no_name)\n"
        "refuses('name', { exclude_none = true }, no_name)\n"
        "refuses('name', { exclude = { 'name' } }, no_name)\n"
        "refuses('price', { include = { 'name' } }, { name = 'a', price = 'dear', tags = {} })\n"
        "eq(with({ exclude_none = true }, { name = 'a', price = 1, tags = {}, note = json.null "
        "}),\n"
        "  '{\"name\":\"a\",\"price\":1.0,\"tax\":10.5,\"tags\":[]}')\n");
    run("local numbers = compile(t.map{ value = t.integer{} }, { exclude_none = true })\n"
        "assert(numbers:encode{ a = json.null } == nil)\n"
        "local gaps = compile(t.map{ value = t.integer{ nullable = true } }, { exclude_none = true "
        "})\n"
        "eq(gaps:encode{ a = json.null, b = 1 }, '{\"b\":1}')\n");
}

static void a_value_of_lua_may_use_the_names_of_its_fields(void **state)
{
    (void) state;
    run("local A = t.model{ name = 'A', fields = { { 'id', t.integer{ alias = '_id' } } } }\n"
        "local p = compile(t.model{ name = 'B', fields = {\n"
        "  { 'all', t.array{ item = A, alias = 'first' } } } })\n"
        "local value = p:validate{ first = { { _id = '4' } } }\n"
        "eq(value.all[1].id, 4)\n"
        "eq(p:validate(value).all[1].id, 4)\n"
        "eq((p:validate_json('{\"all\":[]}')), nil)\n");
}

static void a_response_speaks_its_aliases(void **state)
{
    (void) state;
    run("local A = t.model{ name = 'A', extra = 'allow', fields = {\n"
        "  { 'id', t.integer{ alias = '_id' } } },\n"
        "  computed = { { name = 'twice', type = t.integer{}, fn = function(v) return v.id * 2 end "
        "} } }\n"
        "eq(compile(A):encode{ id = 4 }, '{\"_id\":4,\"twice\":8}')\n"
        "eq(compile(A, { by_alias = false }):encode{ id = 4, more = { 1 } },\n"
        "  '{\"id\":4,\"more\":[1],\"twice\":8}')\n"
        "eq(compile(t.union{ members = { A, t.integer{} } }):encode{ id = 4 },\n"
        "  '{\"_id\":4,\"twice\":8}')\n");
}

static void a_models_value_remembers_its_model_in_a_union(void **state)
{
    (void) state;
    run("local Small = t.model{ name = 'Small', fields = { { 'a', t.integer{} } } }\n"
        "local Large = t.model{ name = 'Large', fields = { { 'a', t.integer{} },\n"
        "  { 'b', t.integer{ default = 1 } } } }\n"
        "local either = compile(t.union{ members = { Large, Small } })\n"
        "eq(either:encode{ a = 1 }, '{\"a\":1,\"b\":1}')\n"
        "eq(either:encode(compile(Small):validate{ a = 1 }), '{\"a\":1}')\n");
}

static void scalars_are_written_as_their_type_says(void **state)
{
    (void) state;
    run("local function text(node, value) return (assert(compile(node):encode(value))) end\n"
        "eq(text(t.number{}, 3), '3.0')\n"
        "eq(text(t.number{}, 1e-5), '0.00001')\n"
        "eq(text(t.number{}, -1.5e-5), '-0.000015')\n"
        "eq(text(t.number{}, 1e-7), '1e-7')\n"
        "eq(text(t.number{}, 1e16), '1e+16')\n"
        "eq(text(t.integer{}, '5'), '5')\n"
        "eq(text(t.boolean{}, 'yes'), 'true')\n"
        "eq(text(t.decimal{}, 1.50), '\"1.5\"')\n"
        "eq(text(t.bytes{ encoding = 'base64' }, '\\xFF\\0'), '\"_wA=\"')\n"
        "eq(text(t.bytes{ encoding = 'hex' }, '\\xFF\\0'), '\"ff00\"')\n"
        "eq(compile(t.bytes{ encoding = 'base64' }):validate_json('\"_wA=\"'), '\\xFF\\0')\n"
        "eq(text(t.secret{}, 'hunter2'), '\"**********\"')\n"
        "eq(text(t.datetime{}, 0), '\"1970-01-01T00:00:00Z\"')\n"
        "eq(text(t.set{ item = t.integer{} }, { 1, 1, 2 }), '[1,2]')\n"
        "eq(text(t.any{}, { 1, { a = json.null } }), '[1,{\"a\":null}]')\n"
        "eq(text(t.map{ key = t.uuid{}, value = t.integer{} },\n"
        "  { ['12345678-1234-1234-1234-12345678ABCD'] = 1 }),\n"
        "  '{\"12345678-1234-1234-1234-12345678abcd\":1}')\n"
        "eq(text(t.tuple{ items = { t.integer{}, t.string{} } }, { 1, 'a' }), '[1,\"a\"]')\n"
        "eq(text(t.tagged{ tag = 'kind', cases = { { 'item', Item } } },\n"
        "  { kind = 'item', name = 'a', price = 1 }),\n"
        "  '{\"name\":\"a\",\"price\":1.0,\"tax\":10.5,\"note\":null,\"tags\":[]}')\n");
}

/* Also those that only the validator can judge: lengths count characters. */
static void bounds_hold_in_responses(void **state)
{
    (void) state;
    run("local function text(node, value) return (compile(node):encode(value)) end\n"
        "local Name = t.string{ min_length = 3, max_length = 4 }\n"
        "eq(text(Name, 'abc'), '\"abc\"')\n"
        "eq(text(Name, 'äöüß'), '\"äöüß\"')\n"
        "eq(text(Name, 'äö'), nil)\n"
        "eq(text(Name, 'abcde'), nil)\n"
        "eq(text(Name, 'ab\\xFF'), nil)\n"
        "local Number = t.number{ gt = 0, le = 10 }\n"
        "eq(text(Number, 10), '10.0')\n"
        "for _, bad in ipairs{ 0, 10.5, 0 / 0, math.huge } do eq(text(Number, bad), nil) end\n"
        "local Count = t.integer{ ge = 1, lt = 5, multiple_of = 2 }\n"
        "eq(text(Count, 4), '4')\n"
        "eq(text(Count, 4.0), '4')\n"
        "for _, bad in ipairs{ 0, 3, 5, 6 } do eq(text(Count, bad), nil) end\n"
        "local Counts = t.array{ item = Count }\n"
        "eq(text(Counts, { 2, '4', 2 }), '[2,4,2]')\n"
        "eq(text(Counts, { 2, 3 }), nil)\n");
}

static void a_response_that_breaks_its_type_names_the_place(void **state)
{
    (void) state;
    run("local function message(node, value)\n"
        "  local text, why = compile(node):encode(value)\n"
        "  eq(text, nil)\n"
        "  return why\n"
        "end\n"
        "local List = t.model{ name = 'List', fields = { { 'items', t.array{ item = Item } } } }\n"
        "eq(message(List, { items = { { name = 'a', price = 1 }, { name = 'b', price = 'x' } } "
        "}),\n"
        "  'response.items[1].price: Input should be a valid number, unable to parse string as a "
        "number')\n"
        "eq(message(List, { items = { { price = 1 } } }), 'response.items[0].name: Field "
        "required')\n"
        "eq(message(Item, 5), 'response: Input should be a valid dictionary or instance of Item')\n"
        "eq(message(t.integer{}, nil), 'response: Input should be a valid integer')\n"
        "eq(message(t.array{ max_items = 1 }, { 1, 2 }),\n"
        "  'response: List should have at most 1 item after validation, not 2')\n"
        "eq(message(t.string{}, 'bad \\xFF'),\n"
        "  'response: Input should be a valid string, unable to parse raw data as a unicode "
        "string')\n"
        "assert(message(t.any{}, { f = print }):find('f: a function cannot be written', 1, true))\n"
        "local loop = {}\n"
        "loop.next = loop\n"
        "local Node\n"
        "Node = t.model{ name = 'Node', fields = {\n"
        "  { 'next', t.ref{ target = function() return Node end, optional = true } } } }\n"
        "assert(message(Node, loop):find('Recursion error', 1, true))\n"
        "loop[1] = loop\n"
        "fails('too deeply', function() compile(t.union{ members = { Node, Item } }):encode(loop) "
        "end)\n");
}

static void programs_may_share_what_was_compiled(void **state)
{
    (void) state;
    run("local asked = 0\n"
        "local types = schema.types()\n"
        "local Owner = t.model{ name = 'Owner', fields = { { 'item', t.ref{ target = function()\n"
        "  asked = asked + 1\n"
        "  return Item\n"
        "end } } } }\n"
        "local one = compile(Owner, nil, types)\n"
        "local list = compile(t.array{ item = Owner }, { exclude_none = true }, types)\n"
        "local inputs = schema.inputs({ groups = { { source = 'body', model = Owner } } }, types)\n"
        "eq(asked, 1)\n"
        "compile(Owner, { strict = true }, types)\n"
        "eq(asked, 2)\n"
        "local other = compile(t.integer{}, nil, types)\n"
        "one, types = nil, nil\n"
        "collectgarbage()\n"
        "local value = list:validate{ { item = { name = 'a', price = 1 } } }\n"
        "eq(list:encode(value),\n"
        "  '[{\"item\":{\"name\":\"a\",\"price\":1.0,\"tax\":10.5,\"tags\":[]}}]')\n"
        "eq(other:validate('5'), 5)\n");
    /* The first program meets B within A, before it knows what A holds. */
    run("local types, A = schema.types(), nil\n"
        "local B = t.model{ name = 'B', fields = { { 'n', t.integer{} },\n"
        "  { 'a', t.ref{ target = function() return A end, optional = true } } } }\n"
        "A = t.model{ name = 'A', fields = { { 'b', B }, { 'word', t.secret{} } } }\n"
        "compile(A, nil, types)\n"
        "local _, errors = compile(B, nil, types):validate{ n = 1, a = { word = 'hush' } }\n"
        "eq(errors[1].input.word, '**********')\n");
    /* A type that could not be compiled is not there for others. */
    run("local types = schema.types()\n"
        "local bad = t.array{ item = t.string{ pattern = '(' } }\n"
        "for _ = 1, 2 do fails('pattern: ', compile, bad, nil, types) end\n"
        "eq(compile(t.integer{}, nil, types):validate('5'), 5)\n");
}

static void stats_count_what_was_refused(void **state)
{
    (void) state;
    run("local before = schema.stats()\n"
        "compile(t.integer{}):validate(1)\n"
        "compile(t.integer{}):validate('x')\n"
        "local after = schema.stats()\n"
        "eq(after.validations - before.validations, 2)\n"
        "eq(after.rejected - before.rejected, 1)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_knows_which_fields_were_set),
        cmocka_unit_test(more_fields_than_a_word_has_bits_are_told_apart),
        cmocka_unit_test(defaults_are_fresh_each_time),
        cmocka_unit_test(null_and_absent_are_kept_apart),
        cmocka_unit_test(collections_keep_their_shape),
        cmocka_unit_test(recursive_models_are_one_type),
        cmocka_unit_test(json_mode_lets_strict_types_take_their_json_spelling),
        cmocka_unit_test(the_datetime_family_counts_like_pythons),
        cmocka_unit_test(checks_run_on_valid_input_and_may_refuse),
        cmocka_unit_test(a_response_is_filtered_and_ordered_by_its_type),
        cmocka_unit_test(what_stays_out_of_a_response_keeps_its_type_too),
        cmocka_unit_test(a_value_of_lua_may_use_the_names_of_its_fields),
        cmocka_unit_test(a_response_speaks_its_aliases),
        cmocka_unit_test(a_models_value_remembers_its_model_in_a_union),
        cmocka_unit_test(scalars_are_written_as_their_type_says),
        cmocka_unit_test(bounds_hold_in_responses),
        cmocka_unit_test(a_response_that_breaks_its_type_names_the_place),
        cmocka_unit_test(programs_may_share_what_was_compiled),
        cmocka_unit_test(stats_count_what_was_refused),
    };
    return cmocka_run_group_tests(tests, open_vm, close_vm);
}
