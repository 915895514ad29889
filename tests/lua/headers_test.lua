local headers = require("perigee.headers")

test("a table becomes a list in the order of its names", function(t)
  t:eq(headers.list({ B = "2", A = 1, C = { "x", "y" } }), {
    { "A", "1" },
    { "B", "2" },
    { "C", "x" },
    { "C", "y" },
  })
end)

test("a list keeps its order and its repetitions", function(t)
  t:eq(
    headers.list({ { "B", "2" }, { "A", 1 }, { "B", "3" } }),
    { { "B", "2" }, { "A", "1" }, { "B", "3" } }
  )
end)

test("nothing becomes an empty list", function(t)
  t:eq(headers.list(nil), {})
end)

test("a key that is no name is refused", function(t)
  t:raises("names must be strings", headers.list, { [3] = "x" })
  t:raises("names must be strings", headers.list, { [true] = "x" })
end)

test("names are found in any case, the first one first", function(t)
  local list = { { "X-A", "1" }, { "x-a", "2" } }
  t:eq(headers.get(list, "x-A"), "1")
  t:eq(headers.get(list, "x-b"), nil)
end)

test("set replaces every line of a name, add does not", function(t)
  local list = { { "X-A", "1" }, { "B", "b" }, { "x-a", "2" } }
  headers.add(list, "X-a", 3)
  t:eq(#list, 4)
  headers.set(list, "X-A", "4")
  t:eq(list, { { "B", "b" }, { "X-A", "4" } })
end)
