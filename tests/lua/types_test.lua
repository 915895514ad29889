local t_ = require("perigee.types")

local function names(node)
  local list = {}
  for i, field in ipairs(node.fields) do
    list[i] = field.name
  end
  return table.concat(list, " ")
end

test("a type with and without options is a node of its own", function(t)
  local plain, long = t_.string, t_.string({ max_length = 3 })
  t:eq({ plain.kind, long.kind, long.max_length }, { "string", "string", 3 })
  t:eq(plain.seq < long.seq, true)
  t:eq(rawequal(t_.string, t_.string), false)
end)

test("calling a type again adds to a copy", function(t)
  local base = t_.integer({ ge = 1 })
  local more = base({ le = 5 })
  t:eq({ more.ge, more.le, base.le }, { 1, 5, nil })
end)

test("fields keep the order they were written in", function(t)
  local model =
    t_.model("M", { z = t_.string, a = t_.integer({ ge = 1 }), m = t_.array(t_.string) })
  t:eq(names(model), "z a m")
end)

test("a list of pairs is its own order", function(t)
  local User = t_.model("User", { id = t_.integer })
  t:eq(names(t_.model("M", { { "b", t_.string }, { "a", User } })), "b a")
end)

test("a model called with options is the same model at another place", function(t)
  local User = t_.model("User", { id = t_.integer })
  local maybe = User({ optional = true })
  t:eq(maybe.kind, "ref")
  t:eq(rawequal(maybe.target(), User), true)
  t:eq(User.optional, nil)
end)

test("checks are collected, before and after", function(t)
  local function first() end
  local function second() end
  local node = t_.string({ check = first, check_before = second })({ check = second })
  t:eq(node.checks, {
    { when = "before", fn = second },
    { when = "after", fn = first },
    { when = "after", fn = second },
  })
end)

test("models are made from models", function(t)
  local User = t_.model(
    "User",
    { name = t_.string, password = t_.secret, age = t_.integer({ default = 3 }) },
    {
      extra = "forbid",
    }
  )
  t:eq(names(User:pick("Login", { "password", "name" })), "name password")
  t:eq(names(User:omit("UserOut", { "password" })), "name age")
  local extended = User:extend("More", { id = t_.uuid, name = t_.integer })
  t:eq(names(extended), "name password age id")
  t:eq(extended.fields[1].type.kind, "integer")
  t:eq(extended.extra, "forbid")
  local partial = User:partial("Patch")
  for _, field in ipairs(partial.fields) do
    t:eq({ field.type.optional, field.type.default }, { true, nil })
  end
  t:eq(User.fields[3].type.default, 3)
  t:raises("User has no field 'pasword' (did you mean 'password'?)", function()
    User:omit("X", { "pasword" })
  end)
  for _, method in ipairs({ "pick", "omit", "extend", "partial" }) do
    t:raises("only models have it, not t.string", t_.string[method], t_.string, "X", {})
    t:raises("model:" .. method .. ": the name must be a string", User[method], User, { "name" })
  end
  for _, method in ipairs({ "pick", "omit" }) do
    for _, names_ in ipairs({ false, "name", { name = true } }) do
      t:raises("a list of field names is needed", User[method], User, "X", names_ or nil)
    end
  end
  t:raises("model:extend: fields must be a table of types", User.extend, User, "X")
end)

test("what comes from a strict model is strict, unless it says otherwise", function(t)
  local Item = t_.model("Item", { price = t_.number, name = t_.string }, { strict = true })
  local derived = {
    Item,
    Item:pick("Priced", { "price" }),
    Item:omit("Unnamed", { "name" }),
    Item:extend("More", { name = t_.string({ default = "" }) }),
    Item:partial("Patch"),
  }
  for _, model in ipairs(derived) do
    t:eq(model.strict, true, model.name)
  end
  t:eq(Item:partial("Lax", { strict = false }).strict, false)
  t:eq(t_.model("Other", {}):partial("Any").strict, nil)
end)

test("cases of a tagged union keep their order", function(t)
  local Dog = t_.model("Dog", { kind = t_.literal("dog") })
  local Cat = t_.model("Cat", { kind = t_.literal("cat") })
  local pet = t_.tagged("kind", { cat = Cat, dog = Dog })
  t:eq({ pet.cases[1][1], pet.cases[2][1] }, { "dog", "cat" })
end)

test("a tagged union needs its field in every case", function(t)
  local Cat = t_.model("Cat", { kind = t_.literal("cat"), name = t_.string })
  local Dog = t_.model("Dog", { name = t_.string })
  t:raises(
    'Dog needs the field: kind = t.literal("dog")',
    t_.tagged,
    "kind",
    { cat = Cat, dog = Dog }
  )
  t:raises("'kind' of Cat never is 'dog'", t_.tagged, "kind", { dog = Cat })
  t:raises("'dog' must be a model, not a t.string", t_.tagged, "kind", { dog = t_.string })
  t_.tagged("pet", { cat = t_.model("Alias", { kind = t_.string({ alias = "pet" }) }) })
  t_.tagged("kind", { cat = Cat({ description = "a reference" }), dog = t_.ref(function() end) })
end)

test("bounds that nothing fits are mistakes", function(t)
  for _, given in ipairs({
    { gt = 5, lt = 3 },
    { gt = 5, le = 5 },
    { gt = 5, lt = 6 },
    { ge = 3, le = 2 },
  }) do
    t:raises("t.integer: no number is within gt, ge, lt and le", t_.integer, given)
  end
  t:raises("t.integer: no number", t_.integer, { gt = 1, ge = 0, lt = 1.5 })
  t:raises("t.number: no number", t_.number, { gt = 1, lt = 1 })
  t:raises("t.decimal: no number", t_.decimal, { ge = "1.5", le = "1.4" })
  t_.number({ gt = 1, lt = 1.5 })
  t_.integer({ ge = 5, le = 5, gt = 4 })
  t_.integer({ gt = 5, lt = 7 })
  t_.date({ ge = "2026-01-01", le = "2026-12-31" })
end)

test("a reference must come to a type", function(t)
  local itself
  itself = t_.ref(function()
    return itself
  end)
  t:raises("t.ref: it refers to itself", itself.target)
  local one, other
  one = t_.ref(function()
    return other
  end)
  other = t_.ref(function()
    return one
  end)
  t:raises("t.ref: it refers to itself", other.target)
  local err =
    t:raises("t.ref: its function returned a nil, not a type", t_.ref(function() end).target)
  t:eq(err:find("types_test.lua:%d+: ") ~= nil, true)
  local Node
  Node = t_.model("Node", { next = t_.ref(function()
    return Node
  end, { optional = true }) })
  t:eq(Node.fields[1].type.target(), Node)
end)

test("what a file may be is checked", function(t)
  t:raises('types[1] must be a media type such as "image/png"', t_.file, { types = { "png" } })
  t:raises("max_bytes must be 0 or more", t_.file, { max_bytes = -1 })
  t_.file({ max_bytes = 10, types = { "image/png", "image/*", "application/vnd.api+json" } })
end)

test("mistakes name the type and what would be right", function(t)
  local function mistake(part, fn)
    local err = t:raises(part, fn)
    t:eq(err:find("types_test.lua:%d+: ") ~= nil, true)
  end
  mistake("there is no type t.strng (did you mean t.string?)", function()
    local _ = t_.strng
  end)
  mistake("t.string: unknown option 'min_lenght' (did you mean 'min_length'?)", function()
    local _ = t_.string({ min_lenght = 1 })
  end)
  mistake("t.integer: unknown option 'pattern'", function()
    local _ = t_.integer({ pattern = "x" })
  end)
  mistake("t.string: option 'min_length' must be integer, not string", function()
    local _ = t_.string({ min_length = "1" })
  end)
  mistake("t.string: min_length is greater than max_length", function()
    local _ = t_.string({ min_length = 2, max_length = 1 })
  end)
  mistake("t.integer: multiple_of must be greater than 0", function()
    local _ = t_.integer({ multiple_of = 0 })
  end)
  mistake("t.array: a type such as t.string is needed, not string", function()
    local _ = t_.array("string")
  end)
  mistake("t.string: options must be a table, not a type", function()
    local _ = t_.string(t_.integer)
  end)
  mistake("t.model: the name must be a string", function()
    local _ = t_.model({ a = t_.string })
  end)
  mistake("field 'a': a type such as t.string is needed, not string", function()
    local _ = t_.model("M", { a = "string" })
  end)
  mistake("field 'a' is declared twice", function()
    local _ = t_.model("M", { { "a", t_.string }, { "a", t_.string } })
  end)
  mistake("extra must be ignore, forbid or allow", function()
    local _ = t_.model("M", {}, { extra = "drop" })
  end)
  mistake("encoding must be utf8, base64 or hex", function()
    local _ = t_.bytes({ encoding = "base32" })
  end)
  mistake("t.enum: a list of values is needed", function()
    local _ = t_.enum("Color", {})
  end)
  mistake("t.ref: a function that returns the type", function()
    local _ = t_.ref("Node")
  end)
  mistake("t.tagged: a field name and a table of models", function()
    local _ = t_.tagged({})
  end)
end)
