local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({
  title = "FastAPI",
  swagger_js_url = "https://unpkg.com/swagger-ui-dist@5/swagger-ui-bundle.js",
  swagger_css_url = "https://unpkg.com/swagger-ui-dist@5/swagger-ui.css",
  redoc_js_url = "https://unpkg.com/redoc@2/bundles/redoc.standalone.js",
})

app:get("/users/{username}", {
  name = "read_user",
  params = { username = t.string },
}, function(req)
  return { message = "Hello " .. req.params.username }
end)

return app
