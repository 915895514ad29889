-- The smallest app: three ways in, JSON out. README.md beside this file walks through it.
local perigee = require("perigee")

local app = perigee.app({ title = "Hello" })

app:get("/", function()
  return { message = "Hello World" }
end)

app:get("/hello/{name}", function(req)
  local greeting = req.query.greeting or "Hello"
  return { message = greeting .. " " .. req.params.name }
end)

app:get("/wait", function()
  perigee.sleep(1000) -- this request waits; nobody else does
  return { message = "Thank you for waiting" }
end)

return app
