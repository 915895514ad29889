--- Lets only clients of these addresses in. Behind a proxy, the proxy must be a trusted one: the client is
--- else the proxy.

local errors = require("perigee.errors")
local host = require("perigee.host")

---@param networks string[] addresses and networks, such as "10.0.0.0/8" or "::1"
---@return perigee.Middleware
return function(networks)
  if type(networks) ~= "table" or #networks == 0 then
    errors.raise("middleware.ip_allow: a list of addresses or networks is needed")
  end
  local allowed = host.limit.networks(table.concat(networks, ","))
  if not allowed then
    local format =
      "middleware.ip_allow: '%s': not all of them are addresses or networks (at most 32)"
    errors.raise(format, table.concat(networks, ", "))
  end
  return function(req, next)
    local client = req.client
    if not client or not allowed:contains(client.host) then
      error(errors.http_error(403), 0)
    end
    return next(req)
  end
end
