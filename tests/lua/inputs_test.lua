local inputs = require("perigee.inputs")
local t_ = require("perigee.types")

local function shape(options)
  local list = {}
  for i, group in ipairs(inputs.read("test", options, "app.lua:1")) do
    local names = {}
    for j, field in ipairs(group.fields or {}) do
      names[j] = field.name
    end
    list[i] = group.source
      .. " "
      .. group.as
      .. ": "
      .. (group.model and "model" or table.concat(names, ","))
  end
  return list
end

test("groups come in the order in which errors are collected", function(t)
  t:eq(
    shape({
      body = t_.model("Item", {}),
      cookies = { c = t_.string },
      headers = { b = t_.string, a = t_.string },
      query = t_.model("Filter", {}),
      params = { id = t_.integer },
    }),
    {
      "path params: id",
      "query query: model",
      "header headers: b,a",
      "cookie cookies: c",
      "body body: model",
    }
  )
end)

test("a table of types is several values of a body", function(t)
  t:eq(shape({ body = { item = t_.string, user = t_.string } }), { "body body: item,user" })
end)

test("form fields and files are one group in their written order", function(t)
  t:eq(shape({ files = { a = t_.file }, form = { b = t_.string } }), { "form form: a,b" })
  t:eq(shape({ form = { b = t_.string }, files = { a = t_.file } }), { "form form: b,a" })
  local first, second, third = t_.file, t_.string, t_.string
  t:eq(
    shape({ form = { { "c", third }, { "b", second } }, files = { { "a", first } } }),
    { "form form: c,b,a" }
  )
  t:eq(shape({ form = t_.model("Login", {}) }), { "form form: model" })
end)

test("an empty table declares nothing", function(t)
  t:eq(shape({ query = {} }), {})
end)

test("what cannot be is refused", function(t)
  local function mistake(part, options)
    t:raises(part, function()
      local _ = inputs.read("test", options, "app.lua:1")
    end)
  end
  mistake("either a body or a form", { body = t_.any, form = { a = t_.string } })
  mistake("params: a model or a table of types is needed, not a t.string", { params = t_.string })
  mistake("form is a model, so files must be fields of it", {
    form = t_.model("F", {}),
    files = { a = t_.file },
  })
  mistake("field 'q': a type such as t.string is needed, not string", { query = { q = "string" } })
end)

test("inputs that no request can bring are refused", function(t)
  local Item = t_.model("Item", { name = t_.string })
  local Upload = t_.model("Upload", { data = t_.file })
  local function mistake(part, options)
    local err = t:raises("test: " .. part, function()
      inputs.check(inputs.read("test", options, "app.lua:1"))
    end)
    t:eq(err:find("^app.lua:1: ") ~= nil, true)
  end
  mistake("query: 'q' cannot be a t.map", { query = { q = t_.map(t_.string) } })
  mistake("query: 'a' cannot hold a t.model", { query = { a = t_.array(Item) } })
  mistake("query: 'a' cannot hold a t.array", { query = { a = t_.array(t_.array(t_.string)) } })
  mistake("headers: 'a' cannot hold a t.model", { headers = { a = t_.union({ t_.string, Item }) } })
  mistake("query: 'a' cannot be a t.model", { query = t_.model("Q", { a = Item }) })
  mistake("params: 'f' cannot be a t.file", { params = { f = t_.file } })
  mistake("body: 'body' is a file, which comes in a form: files", { body = t_.file })
  mistake("body: 'f' is a file", { body = { f = t_.file } })
  mistake("body: 'data' is a file", { body = Upload })
  mistake("files: 'f' must be a t.file", { files = { f = t_.string } })
  inputs.check(inputs.read("test", {
    query = { q = t_.any, list = t_.array(t_.union({ t_.integer, t_.string })) },
    files = { a = t_.file, b = t_.array(t_.bytes), c = t_.file({ optional = true }) },
    form = { note = t_.string },
  }, "app.lua:1"))
end)

test("files are found wherever they are", function(t)
  t:eq(inputs.has_file(t_.model("F", { list = t_.array(t_.file({ optional = true })) })), true)
  t:eq(inputs.has_file(t_.model("F", { name = t_.string })), false)
  t:eq(inputs.has_file(t_.map(t_.file)), true)
  local Node
  Node = t_.model("Node", { next = t_.ref(function()
    return Node
  end, { optional = true }) })
  t:eq(inputs.has_file(Node), false)
end)
