--- What require("perigee") returns. No logic of its own.

local errors = require("perigee.errors")
local host = require("perigee.host")
local json = require("perigee.json")
local response = require("perigee.response")

-- perigee.json is the module and, called, the response: perigee.json.encode(v), perigee.json(v).
setmetatable(json, {
  __call = function(_, value, options)
    return response.json(value, options)
  end,
})

---@class perigee
return {
  app = require("perigee.app").new,
  dependency = require("perigee.dependency").new,
  router = require("perigee.router").new,
  security = require("perigee.security"),
  status = require("perigee.status"),
  types = require("perigee.types"),
  json = json,
  text = response.text,
  html = response.html,
  bytes = response.bytes,
  empty = response.empty,
  redirect = response.redirect,
  stream = response.stream,
  http_error = errors.http_error,
  sleep = host.time.sleep,
}
