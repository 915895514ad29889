--- Cross-origin requests (Fetch standard): answers the browser's preflight and marks answers as
--- readable by other origins. Being middleware, it also marks errors.

local errors = require("perigee.errors")
local headers = require("perigee.headers")
local response = require("perigee.response")

local ALL_METHODS = { "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT" }
local SAFELISTED = { "Accept", "Accept-Language", "Content-Language", "Content-Type" }
local PREFLIGHT_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
  .. "Access-Control-Request-Private-Network"

local OPTIONS = {
  allow_origins = "table",
  allow_origin = "function",
  allow_methods = "table",
  allow_headers = "table",
  allow_credentials = "boolean",
  allow_private_network = "boolean",
  expose_headers = "table",
  max_age = "integer",
}

local function set_of(list, change)
  local set = {}
  for _, value in ipairs(list) do
    set[change and change(value) or value] = true
  end
  return set
end

local function join_headers(given)
  local known = set_of(SAFELISTED)
  local all = table.move(SAFELISTED, 1, #SAFELISTED, 1, {})
  for _, name in ipairs(given) do
    if not known[name] then
      known[name] = true
      all[#all + 1] = name
    end
  end
  table.sort(all)
  return all
end

local function vary_on_origin(answer)
  local vary = {}
  for _, pair in ipairs(answer.headers or {}) do
    if pair[1]:lower() == "vary" then
      vary[#vary + 1] = pair[2]
    end
  end
  vary[#vary + 1] = "Origin"
  answer:set("Vary", table.concat(vary, ", "))
end

---@class perigee.CorsOptions
---@field allow_origins? string[] such as "https://example.com"; "*" for all
---@field allow_origin? fun(origin: string): boolean decides where a list cannot
---@field allow_methods? string[] { "GET" } unless given; "*" for all
---@field allow_headers? string[] besides those always allowed; "*" for all
---@field allow_credentials? boolean
---@field allow_private_network? boolean
---@field expose_headers? string[]
---@field max_age? integer seconds; 600 unless given

---@param options perigee.CorsOptions
---@return perigee.Middleware
return function(options)
  errors.check_options("middleware.cors", options, OPTIONS)
  local origins = set_of(options.allow_origins or {})
  local any_origin = origins["*"] == true
  local methods = options.allow_methods or { "GET" }
  if set_of(methods)["*"] then
    methods = ALL_METHODS
  end
  local method_set = set_of(methods)
  local any_header = set_of(options.allow_headers or {})["*"] == true
  local allowed_headers = join_headers(options.allow_headers or {})
  local header_set = set_of(allowed_headers, string.lower)
  local credentials = options.allow_credentials
  local named_origin = not any_origin or credentials

  local function is_allowed(origin)
    return any_origin
      or origins[origin] == true
      or (options.allow_origin ~= nil and options.allow_origin(origin) == true)
  end

  local function headers_allowed(requested)
    for name in requested:gmatch("[^,]+") do
      if not header_set[name:match("^%s*(.-)%s*$"):lower()] then
        return false
      end
    end
    return true
  end

  local function preflight(req, origin, method)
    local failures = {}
    local answer = response.text("OK")
    answer:set("Vary", PREFLIGHT_VARY)
    if not is_allowed(origin) then
      failures[#failures + 1] = "origin"
    else
      answer:set("Access-Control-Allow-Origin", named_origin and origin or "*")
    end
    answer:set("Access-Control-Allow-Methods", table.concat(methods, ", "))
    answer:set("Access-Control-Max-Age", options.max_age or 600)
    if credentials then
      answer:set("Access-Control-Allow-Credentials", "true")
    end
    if not method_set[method] then
      failures[#failures + 1] = "method"
    end
    local requested = headers.sent(req, "access-control-request-headers")
    if not any_header then
      answer:set("Access-Control-Allow-Headers", table.concat(allowed_headers, ", "))
      if requested and not headers_allowed(requested) then
        failures[#failures + 1] = "headers"
      end
    elseif requested then
      answer:set("Access-Control-Allow-Headers", requested)
    end
    if headers.sent(req, "access-control-request-private-network") then
      if options.allow_private_network then
        answer:set("Access-Control-Allow-Private-Network", "true")
      else
        failures[#failures + 1] = "private-network"
      end
    end
    if #failures > 0 then
      answer.status = 400
      answer.body = "Disallowed CORS " .. table.concat(failures, ", ")
    end
    return answer
  end

  local function mark(answer, origin)
    if not origin then
      vary_on_origin(answer)
      return answer
    end
    if any_origin and not credentials then
      answer:set("Access-Control-Allow-Origin", "*")
    end
    if credentials then
      answer:set("Access-Control-Allow-Credentials", "true")
    end
    if options.expose_headers and #options.expose_headers > 0 then
      answer:set("Access-Control-Expose-Headers", table.concat(options.expose_headers, ", "))
    end
    if named_origin and is_allowed(origin) then
      answer:set("Access-Control-Allow-Origin", origin)
    end
    vary_on_origin(answer)
    return answer
  end

  return function(req, next)
    local origin = headers.sent(req, "origin")
    local method = origin
      and req.method == "OPTIONS"
      and headers.sent(req, "access-control-request-method")
    if method then
      return preflight(req, origin, method)
    end
    return mark(next(req), origin)
  end
end
