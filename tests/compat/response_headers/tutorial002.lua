local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/headers-and-object/", { name = "get_headers" }, function(req)
  req.response:set("X-Cat-Dog", "alone in the world")
  return { message = "Hello World" }
end)

return app
