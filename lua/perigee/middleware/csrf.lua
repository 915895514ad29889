--- Refuses what other sites make a browser send with the user's cookies (cross-site request forgery).
--- Needs no token: browsers say where a request comes from (Sec-Fetch-Site, or Origin), and no page can
--- change that. Clients that are no browsers send neither, and pass.

local errors = require("perigee.errors")
local headers = require("perigee.headers")

local OPTIONS = { trusted_origins = "table", exempt = "function" }

local SAFE = { GET = true, HEAD = true, OPTIONS = true, TRACE = true }

-- Whether an origin such as "https://example.com:8000" names the host that the request was sent to.
local function is_own(origin, host)
  return origin:lower():match("^https?://(.+)$") == host:lower()
end

---@class perigee.CsrfOptions
---@field trusted_origins? string[] other sites that may send, such as "https://admin.example.com"
---@field exempt? fun(req: perigee.Request): boolean requests that prove themselves otherwise (webhooks with a signature)

---@param options? perigee.CsrfOptions
---@return perigee.Middleware
return function(options)
  options = options or {}
  errors.check_options("middleware.csrf", options, OPTIONS)
  local trusted = {}
  for _, origin in ipairs(options.trusted_origins or {}) do
    if type(origin) ~= "string" or not origin:find("^https?://[^/]+$") then
      local format = "middleware.csrf: '%s' is no origin such as \"https://example.com\""
      errors.raise(format, tostring(origin))
    end
    trusted[origin:lower()] = true
  end

  local function is_allowed(req)
    if SAFE[req.method] then
      return true
    end
    local origin = headers.sent(req, "origin")
    if origin and trusted[origin:lower()] then
      return true
    end
    local site = headers.sent(req, "sec-fetch-site")
    if site then
      return site == "same-origin" or site == "none"
    end
    return not origin or is_own(origin, headers.sent(req, "host") or "")
  end

  return function(req, next)
    if not is_allowed(req) and not (options.exempt and options.exempt(req)) then
      error(errors.http_error(403, "Cross-site request refused"), 0)
    end
    return next(req)
  end
end
