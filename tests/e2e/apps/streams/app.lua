-- Streams that end, never end, break, and that outlive their request.
local perigee = require("perigee")

local app = perigee.app()

local MIB = 1024 * 1024
local piece = string.rep("0123456789abcdef", 4096) -- 64 KiB
local large -- 64 MiB, made when first asked for

local kept -- an `out` that outlived its stream

app:get("/", function()
  return perigee.stream(function(out)
    for i = 1, 5 do
      out:write("line " .. i .. "\n")
    end
  end, { content_type = "text/plain; charset=utf-8" })
end)

app:get("/empty", function()
  return perigee.stream(function() end)
end)

app:get("/empty-writes", function()
  return perigee.stream(function(out)
    out:write("a")
    out:write("")
    out:write("b")
  end)
end)

app:get("/status", function()
  return perigee.stream(function(out)
    out:write("made")
  end, { status = 201, headers = { ["X-Kind"] = "stream" } })
end)

app:get("/slow", function()
  return perigee.stream(function(out)
    out:write("first")
    perigee.sleep(50)
    out:write("second")
  end)
end)

-- A stream that waits between its two writes until somebody opens the gate.
local open = false

app:get("/gated", function()
  return perigee.stream(function(out)
    out:write("before")
    while not open do
      perigee.sleep(1)
    end
    out:write("after")
  end)
end)

app:get("/open", function()
  open = true
  return open
end)

app:get("/breaks/at-once", function()
  return perigee.stream(function()
    error("broken before the first byte")
  end)
end)

app:get("/breaks/later", function()
  return perigee.stream(function(out)
    out:write("the first half")
    perigee.sleep(1)
    error("broken halfway")
  end)
end)

app:get("/breaks/after-much", function()
  return perigee.stream(function(out)
    for _ = 1, 64 do
      out:write(piece)
    end
    error("broken after much")
  end)
end)

local written, total = 0, 64 * MIB // #piece

app:get("/huge", function()
  return perigee.stream(function(out)
    for _ = 1, total do
      out:write(piece)
      written = written + 1
    end
  end)
end)

app:get("/huge/written", function()
  return { written = written, total = total }
end)

local started, ended = 0, 0

app:get("/endless", function()
  return perigee.stream(function(out)
    started = started + 1
    local _ <close> = setmetatable({}, {
      __close = function()
        ended = ended + 1
      end,
    })
    while true do
      out:write(piece)
    end
  end)
end)

app:get("/endless/state", function()
  return { started = started, ended = ended }
end)

app:get("/large", function()
  large = large or string.rep(piece, 1024)
  return perigee.bytes(large)
end)

app:get("/sleep/{ms}", function(req)
  perigee.sleep(tonumber(req.params.ms))
  return "slept"
end)

app:get("/keeps-out", function()
  return perigee.stream(function(out)
    kept = out
    out:write("kept")
  end)
end)

app:get("/uses-kept", function()
  local ok, message = pcall(function()
    kept:write("after the end")
  end)
  return { ok = ok, message = tostring(message) }
end)

app:get("/bad-header", function()
  return perigee.stream(function(out)
    out:write("never")
  end, { headers = { ["X-Bad"] = "a\r\nb" } })
end)

app:get("/bad-value", function()
  return perigee.stream(function(out)
    out:write("once")
    out:write({})
  end)
end)

return app
