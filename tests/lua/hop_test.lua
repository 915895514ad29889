-- The way of a request of which a part is threaded, as it is planned at load.
local dependency = require("perigee.dependency")
local hop = require("perigee.hop")
local threaded = require("perigee.threaded")

local test = _G.test
threaded.reopen() -- other tests have loaded apps

local function plain() end
local function there()
  return threaded.threaded(function() end)
end

-- A plan of dependencies given by name, in the order of the list: { "a", fn, "b", { deps = ... } ... }.
local function plan_of(...)
  local entries = {}
  local given = { ... }
  for i = 1, #given, 2 do
    entries[#entries + 1] = dependency.entry_of("test", given[i], given[i + 1])
  end
  return dependency.plan(entries, {}, {})
end

-- "loop 1 2 | worker 3 final" for the legs of a plan.
local function way_of(plan, handler)
  local words = {}
  for _, leg in ipairs(hop.legs(plan, handler) or {}) do
    local text = (leg.there and "worker" or "loop") .. " " .. table.concat(leg, " ")
    words[#words + 1] = text .. (leg.final and " final" or "")
  end
  return table.concat(words, " | ")
end

test("nothing threaded has no legs", function(t)
  t:eq(hop.legs(plan_of("a", plain), plain), nil)
end)

test("all threaded is whole", function(t)
  t:eq(hop.is_whole(plan_of(), there()), true)
  t:eq(hop.is_whole(plan_of("a", there(), "b", there()), there()), true)
  t:eq(hop.is_whole(plan_of("a", there(), "b", plain), there()), false)
  t:eq(hop.is_whole(plan_of("a", there()), plain), false)
end)

test("what a singleton gives is in every VM: it keeps nothing on the loop", function(t)
  local single = dependency.new({ scope = "app", open = function() end })
  t:eq(hop.is_whole(plan_of("a", single), there()), true)
end)

test("plain dependencies run first, threaded ones share a hop with the handler", function(t)
  t:eq(
    way_of(plan_of("a", there(), "b", plain, "c", there()), there()),
    "loop 2 | worker 1 3 final"
  )
end)

test("a plain handler comes behind one hop for all threaded dependencies", function(t)
  t:eq(way_of(plan_of("a", plain, "b", there(), "c", there()), plain), "loop 1 | worker 2 3")
end)

test("a threaded handler alone is the last leg", function(t)
  t:eq(way_of(plan_of("a", plain), there()), "loop 1 | worker  final")
end)

test("needs are obeyed, in as few hops as they allow", function(t)
  local first = there()
  local second = dependency.new({ deps = { first = first } }, plain)
  local third = dependency.new({ deps = { second = second } }, there())
  local plan = plan_of("third", third, "other", plain)
  t:eq(way_of(plan, plain), "loop 4 | worker 1 | loop 2 | worker 3")
end)

test("a leg takes along what it needs and brings what others need", function(t)
  local first = dependency.new({ deps = { base = plain } }, there())
  local unused = there()
  local last = dependency.new({ deps = { first = first } }, plain)
  local plan = plan_of("last", last)
  dependency.entry_of("test", nil, unused)
  local legs = hop.legs(plan, plain)
  t:eq(legs[2].there, true)
  t:eq(legs[2].sends, { 1 })
  t:eq(legs[2].brings, { 2 })
  t:eq(hop.keys(plan), { "dependency_1", "dependency_2", "last" })
end)

test("a final leg brings nothing that only its handler needs back", function(t)
  local plan = plan_of("a", there())
  local legs = hop.legs(plan, there())
  t:eq(legs[1].final, true)
  t:eq(legs[1].sends, {})
end)
