local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:post("/cookie-and-object/", { name = "create_cookie" }, function(req)
  req.response:cookie("fakesession", "fake-cookie-session-value")
  return { message = "Come to the dark side, we have cookies" }
end)

return app
