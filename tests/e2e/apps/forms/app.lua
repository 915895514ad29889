-- Forms and files: what arrived is answered, so that a test can see it.
local perigee = require("perigee")
local t = perigee.types
local MIB = 1024 * 1024

local app = perigee.app({ limits = { max_body_bytes = 64 * MIB } })

local function about(file)
  return { name = file.name, type = file.type, size = file.size, headers = file.headers }
end

app:post("/form", {
  form = { name = t.string, tags = t.array(t.string, { default = {} }) },
}, function(req)
  return req.form
end)

app:post("/both", {
  form = { token = t.string },
  files = { file = t.file },
}, function(req)
  return { token = req.form.token, file = about(req.files.file) }
end)

app:post("/file", { files = { file = t.file } }, function(req)
  return about(req.files.file)
end)

app:post("/optional", { files = { file = t.file({ optional = true }) } }, function(req)
  return { sent = req.files.file ~= nil }
end)

app:post("/bytes", { files = { file = t.bytes } }, function(req)
  return perigee.bytes(req.files.file)
end)

app:post("/read", { files = { file = t.file } }, function(req)
  return perigee.bytes(req.files.file:read())
end)

-- Reads 5 bytes, then the rest in chunks, at the end, and from the middle.
app:post("/pieces", { files = { file = t.file } }, function(req)
  local file = req.files.file
  local first, sizes, total = file:read(5), {}, 0
  for chunk in file:chunks(1000000) do
    sizes[#sizes + 1] = #chunk
    total = total + #chunk
  end
  local ends = { file:read(1) == nil, file:read() == "", file:read(0) == "" }
  local at = file:seek(file.size // 2)
  local middle = file:read(3)
  return {
    first = first,
    sizes = sizes,
    total = total,
    ends = ends,
    at = at,
    middle = middle,
    behind = file:seek(file.size + 100),
  }
end)

app:post("/streamed", { files = { file = t.file } }, function(req)
  local file = req.files.file
  return perigee.stream(function(out)
    for chunk in file:chunks() do
      out:write(chunk)
    end
  end)
end)

app:post("/save", {
  query = { path = t.string },
  files = { file = t.file },
}, function(req)
  local ok, err = req.files.file:save(req.query.path)
  return { ok = ok, code = err and err.code }
end)

-- Closed twice, and then used once more.
app:post("/closed", { files = { file = t.file } }, function(req)
  local file = req.files.file
  do
    local closing <close> = file
    closing:read(1)
  end
  file:close()
  local ok, message = pcall(file.read, file)
  return { ok = ok, message = message, name = file.name, size = file.size }
end)

-- Kept beyond its request.
local kept

app:post("/keep", { files = { file = t.file } }, function(req)
  kept = req.files.file
  return true
end)

app:get("/kept", function()
  local ok, message = pcall(kept.read, kept)
  return { ok = ok, message = message, name = kept.name }
end)

-- Behind the answer the file is still there.
local read_behind

app:post("/behind", { files = { file = t.file } }, function(req)
  local file = req.files.file
  read_behind = nil
  req:after(function()
    perigee.sleep(1)
    read_behind = #file:read()
  end)
  return true
end)

app:get("/read-behind", function()
  return { size = read_behind }
end)

app:post("/json", { body = t.any }, function(req)
  return req.body
end)

return app
