local json = require("perigee.json")
local ordered = require("perigee.ordered")

test("a shape writes its keys in their order, others after them", function(t)
  local shape = ordered.shape({ "type", "title" })
  t:eq(
    ordered.encode(shape({ z = 1, title = "T", a = 2, type = "x" })),
    '{"type":"x","title":"T","a":2,"z":1}'
  )
end)

test("a map remembers the order of its keys, also of one that comes back", function(t)
  local map = ordered.map()
  map.b = 1
  map.a = 2
  map.c = 3
  map.b = nil
  t:eq(ordered.encode(map), '{"a":2,"c":3}')
  map.b = 4
  t:eq(ordered.encode(map), '{"b":4,"a":2,"c":3}')
end)

test("plain tables are written with their keys sorted, numbers as text", function(t)
  t:eq(ordered.encode({ b = { 1, { c = json.null } }, a = {} }), '{"a":{},"b":[1,{"c":null}]}')
  t:eq(ordered.encode({ [404] = { x = true } }), '{"404":{"x":true}}')
  t:eq(ordered.encode({ json.array({}), "ä\n" }), '[[],"ä\\n"]')
end)

test("a copy shares nothing and keeps its order", function(t)
  local map = ordered.map()
  map.b = { list = { 1 } }
  map.a = json.array({})
  local copy = ordered.copy(map)
  map.b.list[1] = 2
  t:eq(ordered.encode(copy), '{"b":{"list":[1]},"a":[]}')
end)

test("merging goes into objects, joins lists and replaces the rest", function(t)
  local base = { a = { x = 1, y = 2 }, list = { 1 }, text = "old" }
  local extra = { a = { y = 3 }, list = { 2 }, text = "new", [404] = { b = 1 } }
  t:eq(
    ordered.encode(ordered.merge(base, extra)),
    '{"404":{"b":1},"a":{"x":1,"y":3},"list":[1,2],"text":"new"}'
  )
end)
