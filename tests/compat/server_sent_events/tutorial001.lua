local perigee = require("perigee")
local t = perigee.types

-- The recorded document calls itself 3.1.0; ours would be 3.2.0, of which itemSchema is a word.
local app = perigee.app({ title = "FastAPI", openapi_version = "3.1.0" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ nullable = true }),
})

local items = {
  { name = "Plumbus", description = "A multi-purpose household device." },
  { name = "Portal Gun", description = "A portal opening device." },
  { name = "Meeseeks Box", description = "A box that summons a Meeseeks." },
}

local function stream()
  return perigee.events(function(events)
    for _, item in ipairs(items) do
      events:send(item)
    end
  end)
end

app:get("/items/stream", {
  name = "sse_items",
  produces = "text/event-stream",
  item = Item,
}, stream)

app:get("/items/stream-no-async", {
  name = "sse_items_no_async",
  produces = "text/event-stream",
  item = Item,
}, stream)

app:get("/items/stream-no-annotation", {
  name = "sse_items_no_annotation",
  produces = "text/event-stream",
}, stream)

app:get("/items/stream-no-async-no-annotation", {
  name = "sse_items_no_async_no_annotation",
  produces = "text/event-stream",
}, stream)

return app
