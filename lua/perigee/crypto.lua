--- Random values, digests, comparison in constant time, encodings and password hashes.

local errors = require("perigee.errors")
local host = require("perigee.host")

local crypto = host.crypto

local M = {}

-- What OWASP's password storage cheat sheet asks for, at least: 19 MiB, two passes, one lane.
local COST = { iterations = 2, memory_kib = 19456, lanes = 1 }
local COST_OPTIONS = { iterations = "number", memory_kib = "number", lanes = "number" }

--- Random bytes from the operating system.
---@param count integer 0 to 1,048,576
---@return string
function M.random(count)
  return crypto.random(count)
end

--- A random text for URLs, cookies and headers: `bytes` random bytes in base64 for URLs.
---@param bytes? integer 32 if not given: 43 characters
---@return string
function M.token(bytes)
  return crypto.base64(crypto.random(bytes or 32), true)
end

--- A random UUID (version 4).
---@return string
function M.uuid()
  local bytes = { crypto.random(16):byte(1, 16) }
  bytes[7] = bytes[7] & 0x0f | 0x40
  bytes[9] = bytes[9] & 0x3f | 0x80
  return ("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x"):format(
    table.unpack(bytes)
  )
end

---@alias perigee.Digest "sha256"|"sha384"|"sha512"|"sha3-256"|"sha3-512"|"blake2b512"|"blake2s256"|"sha1"|"md5"

--- The digest of a string, as bytes. From 1 MiB on it is computed on another thread while the task waits.
---@async
---@param digest perigee.Digest
---@param data string
---@return string bytes
function M.hash(digest, data)
  return crypto.hash(digest, data)
end

---@class perigee.Hasher
---@field update fun(self: perigee.Hasher, data: string): perigee.Hasher
---@field digest fun(self: perigee.Hasher): string bytes; the hasher is of no more use afterwards

--- A digest of data that comes in pieces.
---@param digest perigee.Digest
---@return perigee.Hasher
function M.hasher(digest)
  return crypto.hasher(digest)
end

--- The keyed digest of RFC 2104, as bytes.
---@param digest perigee.Digest
---@param key string
---@param data string
---@return string bytes
function M.hmac(digest, key, data)
  return crypto.hmac(digest, key, data)
end

--- Whether two strings are the same, in a time that does not tell where they differ: for tokens,
--- signatures and keys.
---@param a string
---@param b string
---@return boolean
function M.equal(a, b)
  return crypto.equal(a, b)
end

--- Bytes as hexadecimal digits, in lower case; and back (nil when the text is none).
---@param bytes string
---@return string
function M.hex(bytes)
  return crypto.hex(bytes)
end

---@param text string
---@return string? bytes
function M.from_hex(text)
  return crypto.from_hex(text)
end

--- Bytes as base64 (RFC 4648) with padding; and back (nil when the text is not exactly that).
---@param bytes string
---@return string
function M.base64(bytes)
  return crypto.base64(bytes)
end

---@param text string
---@return string? bytes
function M.from_base64(text)
  return crypto.from_base64(text)
end

--- The alphabet for URLs and file names, without padding.
---@param bytes string
---@return string
function M.base64url(bytes)
  return crypto.base64(bytes, true)
end

---@param text string
---@return string? bytes
function M.from_base64url(text)
  return crypto.from_base64(text, true)
end

---@class perigee.PasswordCost
---@field iterations? integer passes over the memory; 2 if not given
---@field memory_kib? integer KiB; 19456 if not given
---@field lanes? integer 1 if not given

local function cost_of(what, cost)
  cost = cost or COST
  errors.check_options(what, cost, COST_OPTIONS)
  return cost.iterations or COST.iterations,
    cost.memory_kib or COST.memory_kib,
    cost.lanes or COST.lanes
end

--- Hashes a password with argon2id and a fresh salt, on another thread. What it returns says everything
--- that `verify_password` needs: store it as it is.
---@async
---@param password string 4096 bytes at most
---@param cost? perigee.PasswordCost
---@return string encoded such as "$argon2id$v=19$m=19456,t=2,p=1$..."
function M.hash_password(password, cost)
  return crypto.hash_password(password, cost_of("crypto.hash_password", cost))
end

--- Whether a password is the one that was hashed, computed on another thread. An encoded text that is none
--- is false and a message. For a user who does not exist verify against any stored hash all the same: the
--- time then does not tell.
---@async
---@param password string
---@param encoded string
---@return boolean same, string? message
function M.verify_password(password, encoded)
  return crypto.verify_password(password, encoded)
end

--- Whether a stored hash was made with less effort than is asked for now: hash the password anew after the
--- next successful login.
---@param encoded string
---@param cost? perigee.PasswordCost
---@return boolean
function M.needs_rehash(encoded, cost)
  local iterations, memory_kib, lanes = cost_of("crypto.needs_rehash", cost)
  if type(encoded) ~= "string" then
    errors.raise("crypto.needs_rehash: a hash (a string) is needed, not %s", type(encoded))
  end
  local m, t, p = encoded:match("^%$argon2id%$v=19%$m=(%d+),t=(%d+),p=(%d+)%$")
  if not m then
    return true
  end
  return tonumber(m) < memory_kib or tonumber(t) < iterations or tonumber(p) < lanes
end

return M
