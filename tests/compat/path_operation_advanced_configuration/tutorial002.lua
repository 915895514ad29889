local perigee = require("perigee")

local app = perigee.app({
  title = "FastAPI",
  operation_id = function(operation)
    return operation.name
  end,
})

app:get("/items/", { name = "read_items" }, function()
  return { { item_id = "Foo" } }
end)

return app
