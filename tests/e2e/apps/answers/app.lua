-- Every kind of answer, and every way to fail at giving one.
local perigee = require("perigee")

local app = perigee.app()

local kept -- a request that outlived its exchange
local last_id

app:get("/text", function()
  return perigee.text("plain")
end)

app:get("/html", function()
  return perigee.html("<p>hi</p>")
end)

app:get("/bytes", function()
  return perigee.bytes("\0\1\254\255")
end)

app:get("/json", function()
  return perigee.json({ a = 1 }, { status = 202 })
end)

app:get("/status", function()
  return perigee.text("made", { status = 201, headers = { ["X-One"] = "1", ["X-Two"] = "2" } })
end)

app:get("/status/{code}", function(req)
  return perigee.text("a body", { status = tonumber(req.params.code) })
end)

app:get("/many-cookies", function()
  return perigee.text("", { headers = { { "Set-Cookie", "a=1" }, { "Set-Cookie", "b=2" } } })
end)

app:get("/cookie", function(req)
  return perigee.text("x"):cookie("session", req.query.v, { http_only = true })
end)

app:get("/redirect", function()
  return perigee.redirect("/text")
end)

app:get("/redirect/to", function(req)
  return perigee.redirect(req.query.url)
end)

app:get("/header/value", function(req)
  return perigee.text("x", { headers = { ["X-Echo"] = req.query.v } })
end)

app:get("/header/name", function(req)
  return perigee.text("x", { headers = { [req.query.v] = "1" } })
end)

app:get("/header/type", function(req)
  return perigee.text("x", { content_type = req.query.v })
end)

app:get("/framing/{kind}", function(req)
  local headers = {
    length = { ["Content-Length"] = "500" },
    chunked = { ["Transfer-Encoding"] = "chunked" },
    both = { ["Content-Length"] = "1", ["transfer-encoding"] = "chunked" },
  }
  return perigee.text("hello", { headers = headers[req.params.kind] })
end)

local function deep(level)
  if level == 0 then
    error(perigee.http_error(404, "no such thing"))
  end
  deep(level - 1)
end

app:get("/http-error", function()
  deep(20)
end)

app:get("/http-error/table", function()
  error(perigee.http_error(409, { code = 7, why = { "a", "b" } }))
end)

app:get("/http-error/headers", function()
  error(perigee.http_error(401, "who?", { ["WWW-Authenticate"] = "Bearer" }))
end)

app:get("/http-error/plain", function()
  error(perigee.http_error(418))
end)

app:get("/http-error/caught", function()
  local ok, err = pcall(deep, 3)
  return { ok = ok, status = err.status, detail = err.detail }
end)

local function fails()
  error("the secret reason")
end

app:get("/error", function(req)
  last_id = req.id
  fails()
end)

app:get("/error/table", function()
  error({ code = 1 })
end)

app:get("/error/nil", function()
  error(nil)
end)

app:get("/error/tostring", function()
  error(setmetatable({}, {
    __tostring = function()
      error("even the message fails")
    end,
  }))
end)

app:get("/error/overflow", { timeout_ms = 600000 }, function()
  local function again()
    return 1 + again()
  end
  return again()
end)

app:get("/error/memory", function()
  return string.rep("x", 1 << 50)
end)

app:get("/error/in-close", function()
  local _ <close> = setmetatable({}, {
    __close = function()
      error("the cleanup fails")
    end,
  })
  return "never"
end)

app:get("/last-id", function()
  return last_id
end)

app:post("/keep", function(req)
  kept = req
  return "kept"
end)

local uses = {
  method = function(req)
    return req.method
  end,
  path = function(req)
    return req.path
  end,
  target = function(req)
    return req.target
  end,
  params = function(req)
    return req.params.x
  end,
  query = function(req)
    return req.query.x
  end,
  headers = function(req)
    return req.headers.host
  end,
  cookies = function(req)
    return req.cookies.x
  end,
  client = function(req)
    return req.client.host
  end,
  id = function(req)
    return req.id
  end,
  body = function(req)
    return req:body()
  end,
  json = function(req)
    return req:json()
  end,
  chunks = function(req)
    local next_chunk = req:chunks()
    return next_chunk()
  end,
}

app:get("/use-kept/{what}", function(req)
  local ok, message = pcall(uses[req.params.what], kept)
  return { ok = ok, message = tostring(message) }
end)

return app
