local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/fastapi", { name = "redirect_fastapi", status = 307, produces = false }, function()
  return perigee.redirect("https://fastapi.tiangolo.com")
end)

return app
