local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Settings = t.model("Settings", {
  app_name = t.string({ default = "Awesome API" }),
  admin_email = t.string,
  items_per_user = t.integer({ default = 50 }),
})

local settings = Settings:validate({ admin_email = os.getenv("ADMIN_EMAIL") })

app:get("/info", { name = "info" }, function()
  return {
    app_name = settings.app_name,
    admin_email = settings.admin_email,
    items_per_user = settings.items_per_user,
  }
end)

return app
