--- Refuses requests for hosts that are not the app's (Host header attacks).

local errors = require("perigee.errors")
local headers = require("perigee.headers")
local response = require("perigee.response")

local OPTIONS = { allowed_hosts = "table", www_redirect = "boolean" }

-- "Example.com:8000" -> "example.com"; "[::1]:8000" -> "[::1]"
local function host_of(value)
  return (value:match("^%[.-%]") or value:match("^[^:]*")):lower()
end

---@param options { allowed_hosts: string[], www_redirect?: boolean } "*.example.com" stands for every subdomain, "*" for every host
---@return perigee.Middleware
return function(options)
  errors.check_options("middleware.trusted_host", options, OPTIONS)
  local exact, suffixes, any = {}, {}, false
  for _, pattern in ipairs(options.allowed_hosts or { "*" }) do
    local rest = pattern:sub(2)
    if pattern == "*" then
      any = true
    elseif pattern:sub(1, 2) == "*." then
      suffixes[#suffixes + 1] = rest:lower()
    elseif pattern:find("*", 1, true) then
      errors.raise("middleware.trusted_host: '%s': a star stands only for subdomains", pattern)
    else
      exact[pattern:lower()] = true
    end
  end
  local www_redirect = options.www_redirect ~= false

  return function(req, next)
    local host = host_of(headers.sent(req, "host") or "")
    if any or exact[host] then
      return next(req)
    end
    for _, suffix in ipairs(suffixes) do
      if #host > #suffix and host:sub(-#suffix) == suffix then
        return next(req)
      end
    end
    if www_redirect and exact["www." .. host] then
      return response.redirect("//www." .. headers.sent(req, "host") .. req.target)
    end
    return response.text("Invalid host header", { status = 400 })
  end
end
