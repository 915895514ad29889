local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
  price = t.number,
  tax = t.number({ optional = true }),
})

app:put("/items/{item_id}", {
  name = "update_item",
  params = { item_id = t.integer },
  body = Item({
    openapi_examples = {
      normal = {
        summary = "A normal example",
        description = "A **normal** item works correctly.",
        value = { name = "Foo", description = "A very nice Item", price = 35.4, tax = 3.2 },
      },
      converted = {
        summary = "An example with converted data",
        description = "FastAPI can convert price `strings` to actual `numbers` automatically",
        value = { name = "Bar", price = "35.4" },
      },
      invalid = {
        summary = "Invalid data is rejected with an error",
        value = { name = "Baz", price = "thirty five point four" },
      },
    },
  }),
}, function(req)
  return { item_id = req.params.item_id, item = req.body }
end)

return app
