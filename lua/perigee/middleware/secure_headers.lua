--- Headers that make browsers careful with an app's answers. An answer that has one of them keeps it.

local errors = require("perigee.errors")

-- Option, header, and what it is unless given.
local HEADERS = {
  { "content_type_options", "X-Content-Type-Options", "nosniff" },
  { "frame_options", "X-Frame-Options", "SAMEORIGIN" },
  { "referrer_policy", "Referrer-Policy", "no-referrer" },
  {
    "strict_transport_security",
    "Strict-Transport-Security",
    "max-age=15552000; includeSubDomains",
  },
  { "cross_origin_opener_policy", "Cross-Origin-Opener-Policy", "same-origin" },
  { "cross_origin_resource_policy", "Cross-Origin-Resource-Policy", "same-origin" },
  { "cross_origin_embedder_policy", "Cross-Origin-Embedder-Policy" },
  { "origin_agent_cluster", "Origin-Agent-Cluster", "?1" },
  { "permitted_cross_domain_policies", "X-Permitted-Cross-Domain-Policies", "none" },
  { "dns_prefetch_control", "X-DNS-Prefetch-Control", "off" },
  { "xss_protection", "X-XSS-Protection", "0" },
  { "permissions_policy", "Permissions-Policy" },
  { "content_security_policy", "Content-Security-Policy" },
}

local OPTIONS = {}
for _, header in ipairs(HEADERS) do
  OPTIONS[header[1]] = "string|boolean"
end

---@param options? table<string, string|false> values by name, such as content_security_policy = "default-src 'self'"; false leaves a header out
---@return perigee.Middleware
return function(options)
  options = options or {}
  errors.check_options("middleware.secure_headers", options, OPTIONS)
  local list = {}
  for _, header in ipairs(HEADERS) do
    local value = options[header[1]]
    if value == true then
      errors.raise("middleware.secure_headers: %s must be a string, or false for none", header[1])
    elseif value == nil then
      value = header[3]
    end
    if value then
      list[#list + 1] = { header[2], value }
    end
  end
  return function(req, next)
    local answer = next(req)
    for _, pair in ipairs(list) do
      if not answer:get(pair[1]) then
        answer:add(pair[1], pair[2])
      end
    end
    return answer
  end
end
