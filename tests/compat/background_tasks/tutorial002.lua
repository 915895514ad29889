local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local function write_log(message)
  local log <close> = assert(io.open("log.txt", "a"))
  log:write(message)
end

local get_query = perigee.dependency(
  { query = { q = t.string({ optional = true }) } },
  function(req)
    local q = req.query.q
    if q then
      req.response:after(write_log, ("found query: %s\n"):format(q))
    end
    return q
  end
)

app:post("/send-notification/{email}", {
  name = "send_notification",
  params = { email = t.string },
  deps = { q = get_query },
}, function(req)
  req.response:after(write_log, ("message to %s\n"):format(req.params.email))
  return { message = "Message sent" }
end)

return app
