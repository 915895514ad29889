--- TLS contexts of this VM: whom connections trust, and who they are. Made when they are first needed, on
--- another thread, and kept.

local host = require("perigee.host")

local M = {}

local MAX_CONTEXTS = 64
local contexts, count = {}, 0

---@class perigee.TlsOptions
---@field verify? boolean true; false trusts any certificate
---@field ca? string PEM text, file or folder of the authorities that are trusted instead of the system's
---@field cert? string PEM text or file: our certificate
---@field key? string PEM text or file: its key, unless it is in `cert`

M.options = { verify = "boolean", ca = "string", cert = "string", key = "string" }

--- What tells contexts apart.
---@param options perigee.TlsOptions
---@return string
function M.key(options)
  return table.concat({
    tostring(options.verify ~= false),
    options.ca or "",
    options.cert or "",
    options.key or "",
  }, "\0")
end

--- The context for these options.
---@async
---@param options perigee.TlsOptions
---@param http boolean for HTTP, which is then offered by ALPN
---@return userdata? context, perigee.Error? err
function M.context(options, http)
  local key = M.key(options) .. "\0" .. tostring(http)
  if contexts[key] then
    return contexts[key]
  end
  local verify = options.verify ~= false
  local context, err = host.tls.context(options.ca, options.cert, options.key, verify, http)
  if not context then
    return nil, err
  end
  if count >= MAX_CONTEXTS then
    contexts, count = {}, 0
  end
  contexts[key], count = context, count + 1
  return context
end

return M
