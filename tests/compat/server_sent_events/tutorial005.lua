local perigee = require("perigee")
local t = perigee.types

-- The recorded document calls itself 3.1.0; ours would be 3.2.0, of which itemSchema is a word.
local app = perigee.app({ title = "FastAPI", openapi_version = "3.1.0" })

local Prompt = t.model("Prompt", { text = t.string })

app:post("/chat/stream", {
  name = "stream_chat",
  body = Prompt,
  produces = "text/event-stream",
}, function(req)
  return perigee.events(function(events)
    for word in req.body.text:gmatch("%S+") do
      events:send(word, { event = "token" })
    end
    events:send("[DONE]", { event = "done", raw = true })
  end)
end)

return app
