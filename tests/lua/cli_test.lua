local cli = require("perigee.cli")

local APP = [[
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({ docs_url = false, redoc_url = false })
local get_user = perigee.dependency({ query = { token = t.string } }, function() end)
app:get("/items/{id}", { name = "read", deps = { get_user } }, function() end)
app:post("/items", { body = t.model("Item", { %s }) }, function() end)
return app
]]

-- Runs a command on an app with this field; returns its exit code, what it wrote and the app's file.
local function run(command, field, ...)
  local path, output = os.tmpname(), os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(APP:format(field))
  file:close()
  io.output(output)
  local code = cli.main(command, path, ...)
  io.close()
  io.output(io.stdout)
  local written = assert(io.open(output)):read("a")
  os.remove(path)
  os.remove(output)
  return code, written, path
end

local function swallow_errors(fn)
  local stderr = io.stderr
  local said = {}
  rawset(io, "stderr", {
    write = function(_, ...)
      said[#said + 1] = table.concat({ ... })
    end,
  })
  local code = fn()
  rawset(io, "stderr", stderr)
  return code, table.concat(said)
end

test("routes are listed with what they need and where they are", function(t)
  local code, written, path = run("routes", "a = t.string")
  t:eq(code, 0)
  local lines = {}
  for line in written:gmatch("[^\n]+") do
    lines[#lines + 1] = line:gsub("%s+", " ")
  end
  t:eq(lines, {
    "GET /items/{id} read needs get_user " .. path .. ":5",
    "POST /items post_items " .. path .. ":6",
    "GET /openapi.json " .. path .. ":3",
  })
end)

test("the document is printed, and compared with an old one", function(t)
  local code, old = run("openapi", "a = t.string")
  t:eq(code, 0)
  t:eq(old:find('^{"openapi":"3.1.0"') ~= nil, true)
  local saved = os.tmpname()
  local file = assert(io.open(saved, "w"))
  file:write(old)
  file:close()
  local same, nothing = run("openapi", "a = t.any", "--diff", saved)
  t:eq({ same, nothing }, { 0, "" })
  local broken, lines = run("openapi", "a = t.integer", "--diff", saved)
  t:eq({ broken, lines }, { 1, "POST /items: body.a: no longer takes string\n" })
  os.remove(saved)
end)

test("wrong arguments and broken apps are said in a line", function(t)
  local function fails(code, part, fn)
    local got, said = swallow_errors(fn)
    t:eq(got, code)
    t:eq(said:find(part, 1, true) ~= nil, true)
  end
  fails(2, "usage: perigee routes APPDIR", function()
    return cli.main("routes")
  end)
  fails(2, "usage: perigee openapi APPDIR", function()
    return cli.main("openapi")
  end)
  fails(2, "unknown option --dif (did you mean --diff?)", function()
    return cli.main("openapi", "app", "--dif")
  end)
  fails(2, "--diff needs OLD.json", function()
    return cli.main("openapi", "app", "--diff")
  end)
  fails(1, "/nowhere/app.lua", function()
    return cli.main("routes", "/nowhere/app.lua")
  end)
end)
