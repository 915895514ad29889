local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/users", { name = "read_users" }, function()
  return { "Rick", "Morty" }
end)

app:get("/users", { name = "read_users2" }, function()
  return { "Bean", "Elfo" }
end)

return app
