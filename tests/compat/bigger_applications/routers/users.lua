local perigee = require("perigee")
local t = perigee.types

local router = perigee.router()

router:get("/users/", { name = "read_users", tags = { "users" } }, function()
  return { { username = "Rick" }, { username = "Morty" } }
end)

router:get("/users/me", { name = "read_user_me", tags = { "users" } }, function()
  return { username = "fakecurrentuser" }
end)

router:get("/users/{username}", {
  name = "read_user",
  tags = { "users" },
  params = { username = t.string },
}, function(req)
  return { username = req.params.username }
end)

return router
