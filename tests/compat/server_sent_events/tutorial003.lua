local perigee = require("perigee")

-- The recorded document calls itself 3.1.0; ours would be 3.2.0, of which itemSchema is a word.
local app = perigee.app({ title = "FastAPI", openapi_version = "3.1.0" })

local logs = {
  "2025-01-01 INFO  Application started",
  "2025-01-01 DEBUG Connected to database",
  "2025-01-01 WARN  High memory usage detected",
}

app:get("/logs/stream", { name = "stream_logs", produces = "text/event-stream" }, function()
  return perigee.events(function(events)
    for _, line in ipairs(logs) do
      events:send(line, { raw = true })
    end
  end)
end)

return app
