local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", { id = t.string, value = t.string })
local Message = t.model("Message", { message = t.string })

app:get("/items/{item_id}", {
  name = "read_item",
  params = { item_id = t.string },
  response = Item,
  responses = {
    [404] = { model = Message, description = "The item was not found" },
    [200] = {
      description = "Item requested by ID",
      content = {
        ["application/json"] = { example = { id = "bar", value = "The bar tenders" } },
      },
    },
  },
}, function(req)
  if req.params.item_id == "foo" then
    return { id = "foo", value = "there goes my hero" }
  end
  return perigee.json({ message = "Item not found" }, { status = 404 })
end)

return app
