local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Settings = t.model("Settings", {
  app_name = t.string({ default = "Awesome API" }),
  admin_email = t.string,
  items_per_user = t.integer({ default = 50 }),
})

local get_settings = perigee.dependency(function()
  return Settings:validate({ admin_email = os.getenv("ADMIN_EMAIL") })
end)

app:get("/info", { name = "info", deps = { settings = get_settings } }, function(req)
  local settings = req.deps.settings
  return {
    app_name = settings.app_name,
    admin_email = settings.admin_email,
    items_per_user = settings.items_per_user,
  }
end)

return app
