local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local UnicornException = {}

app:on_error(UnicornException, function(_, err)
  local message = ("Oops! %s did something. There goes a rainbow..."):format(err.name)
  return perigee.json({ message = message }, { status = 418 })
end)

app:get("/unicorns/{name}", {
  name = "read_unicorn",
  params = { name = t.string },
}, function(req)
  local name = req.params.name
  if name == "yolo" then
    error(setmetatable({ name = name }, UnicornException))
  end
  return { unicorn_name = name }
end)

return app
