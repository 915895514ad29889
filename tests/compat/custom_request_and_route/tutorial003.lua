local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })
local router = perigee.router()

router:use(function(req, next)
  local before = os.clock()
  local response = next(req)
  return response:set("X-Response-Time", os.clock() - before)
end)

app:get("/", { name = "not_timed" }, function()
  return { message = "Not timed" }
end)

router:get("/timed", { name = "timed" }, function()
  return { message = "It's the time of my life" }
end)

app:include(router)

return app
