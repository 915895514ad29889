local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

local function magic_data_reader(raw_body)
  return {
    size = #raw_body,
    content = {
      name = "Maaaagic",
      price = 42,
      description = "Just kiddin', no magic here. ✨",
    },
  }
end

app:post("/items/", {
  name = "create_item",
  openapi = {
    requestBody = {
      content = {
        ["application/json"] = {
          schema = {
            required = { "name", "price" },
            type = "object",
            properties = {
              name = { type = "string" },
              price = { type = "number" },
              description = { type = "string" },
            },
          },
        },
      },
      required = true,
    },
  },
}, function(req)
  return magic_data_reader(req:body())
end)

return app
