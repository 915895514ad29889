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
  return perigee.lines(function(lines)
    for _, item in ipairs(items) do
      lines:send(item)
    end
  end)
end

app:get("/items/stream", {
  name = "stream_items",
  produces = "application/jsonl",
  item = Item,
}, stream)

app:get("/items/stream-no-async", {
  name = "stream_items_no_async",
  produces = "application/jsonl",
  item = Item,
}, stream)

app:get("/items/stream-no-annotation", {
  name = "stream_items_no_annotation",
  produces = "application/jsonl",
}, stream)

app:get("/items/stream-no-async-no-annotation", {
  name = "stream_items_no_async_no_annotation",
  produces = "application/jsonl",
}, stream)

return app
