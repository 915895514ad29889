local json = require("perigee.json")
local json_schema = require("perigee.json_schema")
local ordered = require("perigee.ordered")
local t_ = require("perigee.types")

local function text(node, mode)
  return ordered.encode(node:json_schema(mode))
end

test("simple types are written as Pydantic writes them", function(t)
  local expected = {
    {
      t_.string({ min_length = 1, pattern = "^a" }),
      '{"type":"string","minLength":1,"pattern":"^a"}',
    },
    { t_.integer({ gt = 0, le = 9 }), '{"type":"integer","maximum":9,"exclusiveMinimum":0}' },
    {
      t_.integer({ ge = math.mininteger, le = math.maxinteger }),
      '{"type":"integer","maximum":9223372036854775807,"minimum":-9223372036854775808}',
    },
    { t_.number({ multiple_of = 0.5 }), '{"type":"number","multipleOf":0.5}' },
    { t_.any, "{}" },
    { t_.null, '{"type":"null"}' },
    { t_.bytes, '{"type":"string","contentMediaType":"application/octet-stream"}' },
    { t_.secret, '{"type":"string","format":"password","writeOnly":true}' },
    { t_.datetime, '{"type":"string","format":"date-time"}' },
    { t_.url({ max_length = 9 }), '{"type":"string","maxLength":9,"minLength":1,"format":"uri"}' },
    {
      t_.decimal({ gt = "1.5" }),
      '{"anyOf":[{"type":"number","exclusiveMinimum":1.5},{"type":"string"}]}',
    },
    { t_.literal("a"), '{"type":"string","const":"a"}' },
    { t_.literal({ "a", 1 }), '{"enum":["a",1]}' },
    { t_.enum({ 1, 2 }), '{"type":"integer","enum":[1,2]}' },
    {
      t_.array(t_.integer, { min_items = 1 }),
      '{"items":{"type":"integer"},"type":"array","minItems":1}',
    },
    { t_.set(t_.string), '{"items":{"type":"string"},"type":"array","uniqueItems":true}' },
    {
      t_.tuple({ t_.integer, t_.string }),
      '{"prefixItems":[{"type":"integer"},{"type":"string"}],"type":"array","maxItems":2,"minItems":2}',
    },
    { t_.tuple({}, { rest = t_.integer }), '{"items":{"type":"integer"},"type":"array"}' },
    { t_.tuple({}), '{"type":"array","maxItems":0,"minItems":0}' },
    { t_.map(t_.any), '{"additionalProperties":true,"type":"object"}' },
    { t_.map(t_.integer, t_.number), '{"additionalProperties":{"type":"number"},"type":"object"}' },
    {
      t_.map(t_.uuid, t_.integer, { min_items = 1 }),
      '{"additionalProperties":{"type":"integer"},"propertyNames":{"format":"uuid"},"type":"object","minProperties":1}',
    },
    {
      t_.map(t_.string({ pattern = "^x" }), t_.integer),
      '{"patternProperties":{"^x":{"type":"integer"}},"type":"object"}',
    },
    { t_.string({ optional = true }), '{"anyOf":[{"type":"string"},{"type":"null"}]}' },
    {
      t_.union({ t_.integer, t_.string }, { nullable = true, description = "d" }),
      '{"anyOf":[{"type":"integer"},{"type":"string"},{"type":"null"}],"description":"d"}',
    },
    { t_.null({ optional = true }), '{"type":"null"}' },
  }
  for _, pair in ipairs(expected) do
    t:eq(text(pair[1]), pair[2])
  end
  t:eq(text(t_.decimal, "output"), '{"type":"string"}')
end)

test("fields have titles, defaults and their own annotations", function(t)
  local model = t_.model("Item", {
    user_id = t_.integer({ alias = "userID", default = 3, description = "who", deprecated = true }),
    tags = t_.array(t_.string, { default = {} }),
    note = t_.string({ optional = true, title = "A note", examples = { "x" } }),
    secret_one = t_.string({ hidden = true }),
    name = t_.string,
  }, { extra = "forbid", description = "An item." })
  t:eq(
    text(model),
    '{"properties":{'
      .. '"userID":{"type":"integer","title":"Userid","description":"who","default":3,"deprecated":true},'
      .. '"tags":{"items":{"type":"string"},"type":"array","title":"Tags","default":[]},'
      .. '"note":{"anyOf":[{"type":"string"},{"type":"null"}],"title":"A note","examples":["x"]},'
      .. '"name":{"type":"string","title":"Name"}},'
      .. '"additionalProperties":false,"type":"object","required":["name"],"title":"Item","description":"An item."}'
  )
end)

test("models are references without a title, with what their place says", function(t)
  local Sub = t_.model("Sub", { x = t_.integer })
  local model = t_.model("M", {
    { "plain", Sub },
    { "described", Sub({ description = "d" }) },
    { "maybe", Sub({ optional = true }) },
    { "many", t_.array(Sub) },
    { "color", t_.enum("Color", { "red" }) },
  })
  t:eq(
    text(model),
    '{"$defs":{"Color":{"type":"string","enum":["red"],"title":"Color"},'
      .. '"Sub":{"properties":{"x":{"type":"integer","title":"X"}},"type":"object","required":["x"],"title":"Sub"}},'
      .. '"properties":{"plain":{"$ref":"#/$defs/Sub"},"described":{"$ref":"#/$defs/Sub","description":"d"},'
      .. '"maybe":{"anyOf":[{"$ref":"#/$defs/Sub"},{"type":"null"}]},'
      .. '"many":{"items":{"$ref":"#/$defs/Sub"},"type":"array","title":"Many"},"color":{"$ref":"#/$defs/Color"}},'
      .. '"type":"object","required":["plain","described","many","color"],"title":"M"}'
  )
end)

test("a model that contains itself is a reference to a definition", function(t)
  local Node
  Node = t_.model("Node", {
    kids = t_.array(
      t_.ref(function()
        return Node
      end),
      { default = {} }
    ),
  })
  t:eq(
    text(Node),
    '{"$ref":"#/$defs/Node","$defs":{"Node":{"properties":{"kids":{"items":{"$ref":"#/$defs/Node"},'
      .. '"type":"array","title":"Kids","default":[]}},"type":"object","title":"Node"}}}'
  )
end)

test("a tagged union maps its tags", function(t)
  local Cat = t_.model("Cat", { kind = t_.literal("cat") })
  local Dog = t_.model("Dog", { kind = t_.literal({ "dog", "wolf" }) })
  local schema = t_.tagged("kind", { { "cat", Cat }, { "dog", Dog }, { "wolf", Dog } })
    :json_schema()
  t:eq(ordered.encode(schema.oneOf), '[{"$ref":"#/$defs/Cat"},{"$ref":"#/$defs/Dog"}]')
  t:eq(
    ordered.encode(schema.discriminator),
    '{"propertyName":"kind","mapping":{"cat":"#/$defs/Cat","dog":"#/$defs/Dog","wolf":"#/$defs/Dog"}}'
  )
end)

-- The names of the definitions when these types are both sent and received.
local function both_ways(...)
  local generator = json_schema.new({ prefix = "" })
  for _, node in ipairs({ ... }) do
    generator:schema(node, "input")
    generator:schema(node, "output")
  end
  return table.concat(ordered.keys(generator:definitions()), " ")
end

test("a model has two definitions only when both ways differ", function(t)
  local Plain = t_.model("Plain", { a = t_.integer })
  local Money = t_.model("Money", { amount = t_.decimal })
  local Order = t_.model("Order", { money = Money, plain = Plain })
  local Person = t_.model("Person", { a = t_.string }, { computed = { b = { t_.string, print } } })
  local Node
  Node = t_.model("Node", {
    kid = t_.ref(function()
      return Node
    end, { optional = true }),
  })
  t:eq(both_ways(Plain), "Plain")
  t:eq(both_ways(Order), "Money-Input Money-Output Order-Input Order-Output Plain")
  t:eq(both_ways(Person), "Person-Input Person-Output")
  t:eq(
    both_ways(t_.model("Holder", { node = Node })),
    "Holder-Input Holder-Output Node-Input Node-Output"
  )
end)

test("computed fields are required in what clients get and unknown to what they send", function(t)
  local Person = t_.model("Person", { a = t_.string }, { computed = { b = { t_.string, print } } })
  t:eq(Person:json_schema("input").properties.b, nil)
  local output = Person:json_schema("output")
  t:eq(output.required, { "a", "b" })
  t:eq(ordered.encode(output.properties.b), '{"type":"string","title":"B","readOnly":true}')
end)

test("two models of one name are told apart, unless they look the same", function(t)
  local function item(node)
    return t_.model("Item", { a = node })
  end
  t:eq(both_ways(item(t_.string), item(t_.string)), "Item")
  local first, second = item(t_.string), item(t_.integer)
  first.source, second.source = "v1/items.lua:3", "v2/items.lua:3"
  t:eq(both_ways(first, second), "v1__items__Item v2__items__Item")
end)

test("null comes last in a union, and what is there twice is there once", function(t)
  local union = t_.union({ t_.integer, t_.null, t_.string({ nullable = true }), t_.integer })
  t:eq(text(union), '{"anyOf":[{"type":"integer"},{"type":"string"},{"type":"null"}]}')
  t:eq(text(union({ optional = true })), text(union))
  t:eq(text(t_.union({ t_.date, t_.date })), '{"type":"string","format":"date"}')
  t:eq(text(t_.literal(json.null)), '{"type":"null"}')
  local Item = t_.model("Item", { a = t_.integer })
  local fields = t_.object({ b = t_.union({ t_.null, Item }) }):json_schema().properties
  t:eq(ordered.encode(fields.b), '{"anyOf":[{"$ref":"#/$defs/Item"},{"type":"null"}]}')
end)

test("what a map holds has no title, and its keys are told where they are limited", function(t)
  t:eq(
    text(t_.map(t_.string({ min_length = 1, title = "K" }), t_.integer({ title = "V" }))),
    '{"additionalProperties":{"type":"integer"},"propertyNames":{"minLength":1},"type":"object"}'
  )
  t:eq(
    text(t_.map(t_.integer({ ge = 1 }), t_.boolean)),
    '{"additionalProperties":{"type":"boolean"},"type":"object"}'
  )
end)

test("the title of a field has no blanks around it", function(t)
  t:eq(t_.object({ type_ = t_.string }):json_schema().properties.type_.title, "Type")
end)
