local perigee = require("perigee")
local dependencies = require("dependencies")

local app = perigee.app({ title = "FastAPI", deps = { dependencies.get_query_token } })

app:include(require("routers.users"))
app:include(require("routers.items"))
app:include(require("internal.admin"), {
  prefix = "/admin",
  tags = { "admin" },
  deps = { dependencies.get_token_header },
  responses = { [418] = { description = "I'm a teapot" } },
})

app:get("/", { name = "root" }, function()
  return { message = "Hello Bigger Applications!" }
end)

return app
