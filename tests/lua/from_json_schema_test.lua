local ordered = require("perigee.ordered")
local t_ = require("perigee.types")

local function read(text, name)
  local node = t_.from_json_schema(text, name)
  return node
end

test("what a type writes is read as the same type", function(t)
  for _, node in ipairs({
    t_.string({ min_length = 1, max_length = 9, pattern = "^a", title = "T" }),
    t_.integer({ ge = 1, lt = 9 }),
    t_.number({ gt = 0, multiple_of = 0.5 }),
    t_.boolean({ default = true }),
    t_.datetime,
    t_.uuid({ deprecated = true }),
    t_.url,
    t_.bytes({ encoding = "base64" }),
    t_.literal("a"),
    t_.enum({ "a", 1 }),
    t_.array(t_.integer, { min_items = 1, unique = true }),
    t_.tuple({ t_.integer, t_.string }),
    t_.map(t_.integer, { max_items = 3 }),
    t_.object({}, { extra = "forbid" }),
    t_.union({ t_.integer, t_.string }, { nullable = true }),
    t_.any({ description = "d" }),
    t_.null,
  }) do
    local text = ordered.encode(node:json_schema())
    t:eq(ordered.encode(read(text):json_schema()), text)
  end
end)

test("properties become fields, those not required optional", function(t)
  local node = read(
    '{"type":"object","required":["b"],"additionalProperties":false,'
      .. '"properties":{"b":{"type":"string"},"a":{"type":"integer"},"c":{"type":"integer","default":3}}}',
    "Item"
  )
  t:eq({ node.kind, node.name, node.extra }, { "model", "Item", "forbid" })
  local seen = {}
  for i, field in ipairs(node.fields) do
    seen[i] = field.name
      .. " "
      .. tostring(field.type.optional)
      .. " "
      .. tostring(field.type.default)
  end
  t:eq(seen, { "a true nil", "b nil nil", "c nil 3" })
end)

test("definitions become models, also those that contain themselves", function(t)
  local Node
  Node = t_.model("Node", {
    kids = t_.array(t_.ref(function()
      return Node
    end)),
  })
  local text = ordered.encode(Node:json_schema())
  t:eq(ordered.encode(read(text):json_schema()), text)
  local Cat = t_.model("Cat", { kind = t_.literal("cat") })
  local Dog = t_.model("Dog", { kind = t_.literal("dog") })
  text = ordered.encode(t_.tagged("kind", { { "cat", Cat }, { "dog", Dog } }):json_schema())
  t:eq(ordered.encode(read(text):json_schema()), text)
end)

test("a list of types is a union, null among them nullable", function(t)
  local node = read('{"type":["string","null"],"minLength":2}')
  t:eq({ node.kind, node.nullable, node.min_length }, { "string", true, 2 })
end)

test("what cannot be said is an error that says where", function(t)
  local function mistake(part, text)
    t:raises(part, read, text)
  end
  mistake("#: 'not' cannot be said here", '{"not":{}}')
  mistake("#/properties/a: 'strnig' is no type", '{"properties":{"a":{"type":"strnig"}}}')
  mistake(
    "#/items: 'minimum' cannot be said here",
    '{"type":"array","items":{"type":"string","minimum":1}}'
  )
  mistake("there is no '#/$defs/X'", '{"$ref":"#/$defs/X"}')
  mistake("'other.json' is outside of the schema", '{"$ref":"other.json"}')
  mistake("'b' is required but not among the properties", '{"properties":{},"required":["b"]}')
  mistake("#: a schema must be an object, not number", "1")
end)
