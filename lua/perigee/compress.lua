--- gzip, deflate and brotli of whole strings, by their names as HTTP content codings. From 64 KiB on the
--- work is done on other threads while the task waits.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local MAX_BYTES = 64 * 1024 * 1024

---@alias perigee.Coding "gzip"|"deflate"|"br"

--- Compresses a string.
---@async
---@param coding perigee.Coding `deflate` is the zlib format, as HTTP means it
---@param data string
---@param options? { level?: integer } 0 to 9, 6 if not given; for br 0 to 11, 5 if not given
---@return string
function M.encode(coding, data, options)
  errors.check_options("compress.encode", options or {}, { level = "number" })
  return host.compress.pack(coding, data, options and options.level)
end

--- Decompresses a string. What would become longer than `max_bytes` is an error (`EFBIG`), and so is data
--- that is broken or cut off (`EINVAL`).
---@async
---@param coding perigee.Coding
---@param data string
---@param options? { max_bytes?: integer } 64 MiB if not given
---@return string? data, { code: string, message: string }? err
function M.decode(coding, data, options)
  errors.check_options("compress.decode", options or {}, { max_bytes = "number" })
  return host.compress.unpack(coding, data, options and options.max_bytes or MAX_BYTES)
end

return M
