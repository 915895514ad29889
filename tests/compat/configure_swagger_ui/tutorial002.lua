local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({
  title = "FastAPI",
  swagger_ui_parameters = { syntaxHighlight = { theme = "obsidian" } },
})

app:get("/users/{username}", {
  name = "read_user",
  params = { username = t.string },
}, function(req)
  return { message = "Hello " .. req.params.username }
end)

return app
