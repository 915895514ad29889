local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:on_stop(function()
  local log <close> = assert(io.open("log.txt", "a"))
  log:write("Application shutdown")
end)

app:get("/items/", { name = "read_items" }, function()
  return { { name = "Foo" } }
end)

return app
