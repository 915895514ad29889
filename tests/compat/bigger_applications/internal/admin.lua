local perigee = require("perigee")

local router = perigee.router()

router:post("/", { name = "update_admin" }, function()
  return { message = "Admin getting schwifty" }
end)

return router
