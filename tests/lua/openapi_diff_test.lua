local diff = require("perigee.openapi_diff")
local json = require("perigee.json")
local ordered = require("perigee.ordered")
local perigee = require("perigee")
local t_ = perigee.types

local function document(options, extra)
  local app = perigee.app()
  app:post("/items", options, function() end)
  if extra then
    extra(app)
  end
  app:build()
  return json.decode(ordered.encode(app:document()))
end

local function compare(old, new)
  return diff.compare(document(old), document(new))
end

test("the same document breaks nobody", function(t)
  local options = { body = t_.model("Item", { a = t_.string }), response = t_.array(t_.integer) }
  t:eq(compare(options, options), {})
end)

test("an operation that is gone breaks, a new one does not", function(t)
  local function more(app)
    app:get("/more", function() end)
  end
  t:eq(diff.compare(document({}, more), document({})), { "GET /more: is gone" })
  t:eq(diff.compare(document({}), document({}, more)), {})
end)

test("what clients send may not be asked to be more", function(t)
  local function item(fields, options)
    return { body = t_.model("Item", fields, options) }
  end
  local old = item({ a = t_.string({ max_length = 9 }), n = t_.number })
  t:eq(compare(old, item({ a = t_.string({ max_length = 9 }), n = t_.number, b = t_.string })), {
    "POST /items: body.b: is now required",
  })
  t:eq(compare(old, item({ a = t_.string({ max_length = 5 }), n = t_.integer })), {
    "POST /items: body.a: maxLength is now 5",
    "POST /items: body.n: no longer takes number",
  })
  t:eq(compare(old, item({ n = t_.number }, { extra = "forbid" })), {
    "POST /items: body: no longer takes fields that are not declared",
    "POST /items: body.a: is no longer taken",
  })
  local same = { a = t_.string({ max_length = 9 }), n = t_.number }
  t:eq(compare(old, item(same, { extra = "forbid" })), {
    "POST /items: body: no longer takes fields that are not declared",
  })
  t:eq(compare(item(same, { extra = "forbid" }), old), {})
  t:eq(
    compare({ body = { m = t_.map(t_.integer) } }, { body = { m = t_.map(t_.string) } }),
    { "POST /items: body.m{}: no longer takes integer" }
  )
  t:eq(compare(old, item({ a = t_.string({ optional = true }), n = t_.any })), {})
end)

test("what clients get may not become less", function(t)
  local function item(fields)
    return { response = t_.model("Item", fields) }
  end
  local old = item({ a = t_.string, b = t_.integer, e = t_.enum({ "x" }) })
  t:eq(compare(old, item({ a = t_.string({ optional = true }), e = t_.enum({ "x", "y" }) })), {
    "POST /items: 200.a: may now be missing",
    "POST /items: 200.a: may now be null",
    "POST /items: 200.b: is gone",
    "POST /items: 200.e: may now be 'y'",
  })
  t:eq(
    compare(item({ e = t_.enum({ "x", "z" }) }), item({ e = t_.enum({ "x", "y" }) })),
    { "POST /items: 200.e: may now be 'y'" }
  )
  t:eq(
    compare(old, item({ a = t_.string, b = t_.integer, e = t_.enum({ "x" }), c = t_.string })),
    {}
  )
end)

test("parameters, bodies, answers and credentials are compared", function(t)
  local old = { query = { a = t_.string({ optional = true }) } }
  t:eq(compare(old, { query = { a = t_.string, b = t_.integer({ default = 1 }) } }), {
    "POST /items: query parameter a: is now required",
    "POST /items: query parameter a: no longer takes null",
  })
  t:eq(compare({}, { body = t_.array(t_.string) }), { "POST /items: a body is now required" })
  t:eq(compare({ status = 201 }, {}), { "POST /items: 201: is no longer answered" })
  t:eq(
    compare({}, { deps = { perigee.security.bearer() } }),
    { "POST /items: now needs credentials" }
  )
end)

test("a model that contains itself is compared once", function(t)
  local function tree(kind)
    local Node
    Node = t_.model("Node", {
      value = kind,
      kids = t_.array(t_.ref(function()
        return Node
      end)),
    })
    return { body = Node }
  end
  t:eq(compare(tree(t_.string), tree(t_.string)), {})
  t:eq(#compare(tree(t_.string), tree(t_.integer)) > 0, true)
end)
