local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:use(function(req, next)
  local start_time = os.clock()
  local response = next(req)
  return response:set("X-Process-Time", os.clock() - start_time)
end)

return app
