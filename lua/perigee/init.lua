--- What require("perigee") returns. No logic of its own.

local errors = require("perigee.errors")
local host = require("perigee.host")
local json = require("perigee.json")
local response = require("perigee.response")
local threaded = require("perigee.threaded")

--- What a handler is called with. What is declared under a key is read under the same key, validated and
--- converted; what is not declared is there as strings. Other names may be assigned: `req.user = user`.
---@class perigee.Request
---@field method string
---@field path string percent-decoded
---@field target string as it was sent, with the query
---@field params table<string, any>
---@field query table<string, any>
---@field headers table<string, any> names in lower case
---@field cookies table<string, any>
---@field body any the declared body; where none is declared, a method that reads it whole
---@field form table<string, any>
---@field files table<string, any>
---@field deps table<string, any> values of the named dependencies
---@field scopes string[] in a dependency with `uses_scopes`: the scopes it is asked for
---@field client { host: string, port: integer } as trusted proxies tell; host is "" on a Unix socket
---@field scheme "http"|"https" as trusted proxies tell
---@field id string names the request in logs: unique, or the X-Request-ID that a trusted proxy sent
---@field state table what middleware and handlers share about this request
---@field response perigee.Response headers, cookies and status to go with a plain result
---@field json fun(self: perigee.Request): any the body as JSON
---@field chunks fun(self: perigee.Request): fun(): string? the body as it arrives
---@field all fun(self: perigee.Request, source: "query"|"headers"|"cookies", name: string): string[] as sent
---@field early_hints fun(self: perigee.Request, headers: table<string, string|string[]>): boolean sends 103 with
--- what the client may fetch meanwhile (`{ Link = "</app.css>; rel=preload; as=style" }`); false where nobody reads
--- it: HTTP/1.0, or a worker thread
---@field after fun(self: perigee.Request, task: function, ...: any) runs once the answer is sent

--- What a streamed answer is written to.
---@class perigee.Out
---@field write fun(self: perigee.Out, bytes: string) waits while the client is slow

-- perigee.json is the module and, called, the response: perigee.json.encode(v), perigee.json(v).
setmetatable(json, {
  __call = function(_, value, options)
    return response.json(value, options)
  end,
})

-- What an app may need and most do not: loaded when it is first asked for, so that a start stays quick.
-- The module of this name, or what stands under it in another one.
local LAZY = {
  compress = true,
  conditional = true,
  crypto = true,
  events = "streams",
  file = true,
  fs = true,
  http = true,
  json_array = "streams",
  jwt = true,
  lines = "streams",
  net = true,
  process = true,
  settings = true,
  task = true,
  shared = true,
  time = true,
}

---@class perigee
local perigee = {
  app = require("perigee.app").new,
  dependency = require("perigee.dependency").new,
  router = require("perigee.router").new,
  security = require("perigee.security"),
  status = require("perigee.status"),
  types = require("perigee.types"),
  json = json,
  text = response.text,
  html = response.html,
  xml = response.xml,
  bytes = response.bytes,
  empty = response.empty,
  redirect = response.redirect,
  stream = response.stream,
  http_error = errors.http_error,
  threaded = threaded.threaded,
  on_loop = threaded.on_loop,
  sleep = host.time.sleep,
}

-- The names of all that is offered, for tools.
local function names()
  local list = {}
  for _, set in ipairs({ perigee, LAZY }) do
    for name in pairs(set) do
      list[#list + 1] = name
    end
  end
  table.sort(list)
  return list
end

return setmetatable(perigee, {
  __names = names,
  __index = function(self, name)
    local from = LAZY[name]
    local value = from == true and require("perigee." .. name)
      or from and require("perigee." .. from)[name]
    rawset(self, name, value)
    return value
  end,
})
