local perigee = require("perigee")

local app = perigee.app({
  title = "Custom title",
  version = "2.5.0",
  summary = "This is a very custom OpenAPI schema",
  description = "Here's a longer description of the custom **OpenAPI** schema",
})

app:get("/items/", { name = "read_items" }, function()
  return { { name = "Foo" } }
end)

app:openapi(function(document)
  document.info["x-logo"] = {
    url = "https://fastapi.tiangolo.com/img/logo-margin/logo-teal.png",
  }
  return document
end)

return app
