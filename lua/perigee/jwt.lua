--- JSON Web Tokens (RFC 7519) in their compact form, signed. The caller says which algorithm is right: the
--- token's own `alg` is only compared with it, so a token cannot choose, and `none` does not exist.

local errors = require("perigee.errors")
local host = require("perigee.host")
local json = require("perigee.json")

local crypto, signature = host.crypto, host.signature

local M = {}

local MAX_TOKEN = 16384 -- bytes; one that travels in a header is shorter

local HMACS = { HS256 = "sha256", HS384 = "sha384", HS512 = "sha512" }
local MIN_SECRET = { HS256 = 32, HS384 = 48, HS512 = 64 } -- bytes: RFC 7518, 3.2
local SIGNED = {
  RS256 = true,
  RS384 = true,
  RS512 = true,
  PS256 = true,
  PS384 = true,
  PS512 = true,
  ES256 = true,
  ES384 = true,
  ES512 = true,
  EdDSA = true,
}

---@alias perigee.JwtAlgorithm "HS256"|"HS384"|"HS512"|"RS256"|"RS384"|"RS512"|"PS256"|"PS384"|"PS512"|"ES256"|"ES384"|"ES512"|"EdDSA"

-- Parsed keys by their PEM text: reading one costs more than using it.
local keys = setmetatable({}, { __mode = "v" })

local function key_of(what, pem)
  local key = keys[pem]
  if not key then
    local message
    key, message = signature.key(pem)
    if not key then
      error(what .. ": " .. message, 0)
    end
    keys[pem] = key
  end
  return key
end

local function check_algorithm(what, alg)
  if alg == nil then
    errors.raise("%s: the option alg is needed, such as 'HS256'", what)
  elseif not HMACS[alg] and not SIGNED[alg] then
    errors.raise("%s: unknown algorithm '%s'", what, tostring(alg))
  end
end

local function check_secret(what, alg, secret)
  if type(secret) ~= "string" then
    errors.raise("%s: the key must be a string, not %s", what, type(secret))
  elseif HMACS[alg] and secret:find("^%s*%-%-%-%-%-BEGIN") then
    errors.raise("%s: %s takes a shared secret; this is a key in PEM", what, alg)
  elseif HMACS[alg] and #secret < MIN_SECRET[alg] then
    local format =
      "%s: a secret for %s has %d bytes at least (RFC 7518); crypto.token(%d) makes one"
    errors.raise(format, what, alg, MIN_SECRET[alg], MIN_SECRET[alg])
  end
end

local function make_signature(what, alg, secret, data)
  if HMACS[alg] then
    return crypto.hmac(HMACS[alg], secret, data)
  end
  return signature.sign(alg, key_of(what, secret), data)
end

local function is_signed(what, alg, secret, data, bytes)
  if HMACS[alg] then
    return crypto.equal(crypto.hmac(HMACS[alg], secret, data), bytes)
  end
  return signature.verify(alg, key_of(what, secret), data, bytes)
end

---@class perigee.JwtSigning
---@field alg perigee.JwtAlgorithm
---@field expires_in_s? number seconds from now: sets `exp`
---@field header? table further fields of the token's header, such as `kid`

local SIGNING = { alg = "string", expires_in_s = "number", header = "table" }

--- Makes a token. `iat` is set when the claims have none.
---@param claims table
---@param key string the secret of an HS algorithm, else a private key in PEM
---@param options perigee.JwtSigning
---@return string token
function M.sign(claims, key, options)
  local what = "jwt.sign"
  if type(claims) ~= "table" then
    errors.raise("%s: claims must be a table, not %s", what, type(claims))
  end
  errors.check_options(what, options or {}, SIGNING)
  local alg = options and options.alg
  check_algorithm(what, alg)
  check_secret(what, alg, key)

  local header = { typ = "JWT" }
  for name, value in pairs(options.header or {}) do
    header[name] = value
  end
  header.alg = alg
  local payload = {}
  for name, value in pairs(claims) do
    payload[name] = value
  end
  payload.iat = payload.iat or os.time()
  if options.expires_in_s then
    payload.exp = os.time() + math.floor(options.expires_in_s)
  end
  local data = crypto.base64(json.encode(header), true)
    .. "."
    .. crypto.base64(json.encode(json.object(payload)), true)
  return data .. "." .. crypto.base64(make_signature(what, alg, key, data), true)
end

---@class perigee.JwtChecks
---@field alg perigee.JwtAlgorithm
---@field audience? string one that the token must be meant for
---@field issuer? string who must have made it
---@field subject? string
---@field leeway_s? number how far clocks may be apart; 0 if not given
---@field require? string[] claims that must be there; `exp` always must, unless `allow_no_expiry`
---@field allow_no_expiry? boolean
---@field now? number seconds since 1970, for tests

local CHECKS = {
  alg = "string",
  audience = "string",
  issuer = "string",
  subject = "string",
  leeway_s = "number",
  require = "table",
  allow_no_expiry = "boolean",
  now = "number",
}

-- What verify() refuses, by its code.
local Refusal = {}
Refusal.__index = Refusal
Refusal.__tostring = function(self)
  return self.message
end

local function refuse(code, message)
  return nil, setmetatable({ code = code, message = message }, Refusal)
end

local function decode_part(text)
  local bytes = crypto.from_base64(text, true)
  local ok, value = pcall(json.decode, bytes or "")
  if ok and type(value) == "table" and not json.is_array(value) then
    return value
  end
end

-- A claim that holds a time: nil when it is absent, false when it is no finite number.
local function time_claim(claims, name)
  local value = claims[name]
  if value == nil then
    return nil
  end
  return math.type(value) ~= nil and math.abs(value) < math.huge and value
end

local function check_times(claims, options)
  local now, leeway = options.now or os.time(), options.leeway_s or 0
  local expires = time_claim(claims, "exp")
  local not_before = time_claim(claims, "nbf")
  local issued = time_claim(claims, "iat")
  if expires == false or not_before == false or issued == false then
    return refuse("malformed", "a time of the token is no number")
  elseif expires == nil and not options.allow_no_expiry then
    return refuse("missing_claim", "the token has no exp")
  elseif expires and now >= expires + leeway then
    return refuse("expired", "the token has expired")
  elseif not_before and now < not_before - leeway then
    return refuse("not_yet", "the token is not valid yet")
  end
  return true
end

local function is_for(claims, audience)
  local given = claims.aud
  if type(given) ~= "table" then
    return given == audience
  end
  for _, one in ipairs(given) do
    if one == audience then
      return true
    end
  end
  return false
end

local function check_claims(claims, options)
  local ok, err = check_times(claims, options)
  if not ok then
    return nil, err
  end
  for _, name in ipairs(options.require or {}) do
    if claims[name] == nil or claims[name] == json.null then
      return refuse("missing_claim", "the token has no " .. name)
    end
  end
  if options.audience and not is_for(claims, options.audience) then
    return refuse("audience", "the token is meant for somebody else")
  elseif options.audience == nil and claims.aud ~= nil then
    return refuse("audience", "the token has an audience: say which one you are")
  elseif options.issuer and claims.iss ~= options.issuer then
    return refuse("issuer", "the token was made by somebody else")
  elseif options.subject and claims.sub ~= options.subject then
    return refuse("subject", "the token speaks of somebody else")
  end
  return claims
end

--- Checks a token's signature, times and audience. What is wrong with the token is `nil, err` with a code:
--- malformed, algorithm, signature, expired, not_yet, missing_claim, audience, issuer or subject. What is
--- wrong with the key or the options raises.
---@param token string
---@param key string the secret of an HS algorithm, else a public key (or certificate) in PEM
---@param options perigee.JwtChecks
---@return table? claims, { code: string, message: string }? err
function M.verify(token, key, options)
  local what = "jwt.verify"
  errors.check_options(what, options or {}, CHECKS)
  local alg = options and options.alg
  check_algorithm(what, alg)
  check_secret(what, alg, key)
  if type(token) ~= "string" or #token > MAX_TOKEN then
    return refuse("malformed", "this is no token")
  end
  local data, header_text, claims_text, bytes_text =
    token:match("^(([%w_-]+)%.([%w_-]+))%.([%w_-]+)$")
  local header = header_text and decode_part(header_text)
  local bytes = bytes_text and crypto.from_base64(bytes_text, true)
  if not header or not bytes then
    return refuse("malformed", "this is no signed token")
  elseif header.alg ~= alg then
    return refuse("algorithm", "the token is signed in another way than " .. alg)
  elseif header.crit ~= nil then
    return refuse("malformed", "the token needs an extension that is not understood")
  elseif not is_signed(what, alg, key, data, bytes) then
    return refuse("signature", "the signature is wrong")
  end
  local claims = decode_part(claims_text)
  if not claims then
    return refuse("malformed", "the token has no claims")
  end
  return check_claims(claims, options)
end

--- The header of a token, not verified: for its `kid`, to choose the key.
---@param token string
---@return table? header
function M.header(token)
  local text = type(token) == "string" and #token <= MAX_TOKEN and token:match("^([%w_-]+)%.")
  return text and decode_part(text) or nil
end

return M
