-- Threaded functions as they are registered: their numbers, and what tells one load from another.
local test = _G.test

-- The module anew: it counts and is sealed.
local function fresh()
  package.loaded["perigee.threaded"] = nil
  local module = require("perigee.threaded")
  package.loaded["perigee.threaded"] = _G.the_threaded
  return module
end
_G.the_threaded = require("perigee.threaded")

test("a threaded function is another one that knows what it stands for", function(t)
  local threaded = fresh()
  local function fn(a, b)
    return b, a
  end
  local wrapper = threaded.threaded(fn)
  t:eq(threaded.is(wrapper), true)
  t:eq(threaded.is(fn), false)
  t:eq(rawequal(threaded.inner(wrapper), fn), true)
  t:eq(rawequal(threaded.threaded(wrapper), wrapper), true)
  t:eq({ wrapper(1, 2) }, { 2, 1 })
end)

test("only what can be called can be threaded", function(t)
  local threaded = fresh()
  local callable = setmetatable({}, {
    __call = function(_, value)
      return value
    end,
  })
  t:eq(threaded.threaded(callable)(7), 7)
  local err = t:raises("a function is needed, not number", function()
    threaded.threaded(7)
  end)
  t:eq(err:match("threaded_test%.lua:%d+") ~= nil, true)
end)

test("once the app has loaded there are no more of them", function(t)
  local threaded = fresh()
  threaded.seal({})
  t:raises("while a module loads", threaded.threaded, function() end)
end)

test("functions that are called back are numbered with them", function(t)
  local threaded = fresh()
  t:eq(threaded.on_loop(tostring)(7), "7")
  t:raises("a function is needed, not nil", threaded.on_loop)
  local there = threaded.threaded(function() end)
  t:raises("is threaded: it runs on a worker", threaded.on_loop, there)
  local lines = threaded.seal({})
  t:eq(#lines, 2)
  t:eq(lines[1]:match("threaded_test%.lua:%d+ %(on_loop%)$") ~= nil, true)
  t:raises("perigee.on_loop: the app has loaded", threaded.on_loop, print)
end)

test("an app that has nothing threaded calls nothing back and has no workers", function(t)
  local threaded = fresh()
  threaded.on_loop(print)
  t:eq(threaded.seal({ { methods = { "GET" }, path = "/a", threaded = false } }), {})
end)

test("places tell them, and the operations that use them", function(t)
  local threaded = fresh()
  threaded.threaded(function() end)
  local lines = threaded.seal({
    { methods = { "GET" }, path = "/a", source = "app.lua:1", threaded = true },
    { methods = { "GET" }, path = "/plain", source = "app.lua:2", threaded = false },
    { methods = { "PUT", "POST" }, path = "/b", source = "app.lua:3", hop = print },
  })
  t:eq(#lines, 3)
  t:eq(lines[1]:match("threaded_test%.lua:%d+$") ~= nil, true)
  t:eq({ lines[2], lines[3] }, { "GET /a (app.lua:1)", "PUT,POST /b (app.lua:3)" })
end)

test("those of one place are told by what they have captured", function(t)
  local threaded = fresh()
  local constant = "same for all"
  for i, name in ipairs({ "Ada", "Alan" }) do
    threaded.threaded(function()
      return constant, i, name
    end)
  end
  local lines = threaded.seal({})
  t:eq(lines[1]:match("%((.-)%)"), "i = 1")
  t:eq(lines[2]:match("%((.-)%)"), "i = 2")
end)

test("... also when it is a function", function(t)
  local threaded = fresh()
  local function one() end
  local function other() end
  for _, fn in ipairs({ one, other }) do
    threaded.threaded(function()
      return fn()
    end)
  end
  local lines = threaded.seal({})
  t:eq(lines[1]:match("fn = .*threaded_test%.lua:%d+") ~= nil, true)
end)

test("cleaning up is urgent only for what is threaded", function(t)
  local threaded = fresh()
  local function fn() end
  t:eq(rawequal(threaded.cleanup(fn), fn), true)
  t:eq(threaded.cleanup(nil), nil)
  t:eq(threaded.cleans, false)
  t:eq(rawequal(threaded.cleanup(threaded.threaded(fn)), fn), false)
  t:eq(threaded.cleans, true)
end)
