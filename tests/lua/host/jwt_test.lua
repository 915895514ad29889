package.path = "tests/lua/host/?.lua;" .. package.path
local crypto = require("perigee.crypto")
local json = require("perigee.json")
local jwt = require("perigee.jwt")
local keys = require("keys")

local SECRET = ("s"):rep(64)

local function code_of(token, key, options)
  local claims, err = jwt.verify(token, key, options)
  return claims == nil and err.code or "valid"
end

local function pack(header, claims, secret)
  local data = crypto.base64url(header) .. "." .. crypto.base64url(claims)
  return data .. "." .. crypto.base64url(crypto.hmac("sha256", secret, data))
end

test("the token of RFC 7515, A.1 verifies", function(t)
  local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    .. ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    .. ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
  local key = crypto.from_base64url(
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
  )
  local claims = jwt.verify(token, key, { alg = "HS256", now = 1300819379 })
  t:eq(claims.iss, "joe")
  t:eq(code_of(token, key, { alg = "HS256", now = 1300819380 }), "expired")
  t:eq(code_of(token, key, { alg = "HS256", now = 1300819380, leeway_s = 1 }), "valid")
  t:eq(code_of(token, key .. "x", { alg = "HS256", now = 1 }), "signature")
end)

test("every algorithm signs and verifies, and knows its key", function(t)
  local sides = {
    HS256 = { SECRET, SECRET },
    HS384 = { SECRET, SECRET },
    HS512 = { SECRET, SECRET },
    RS256 = { keys.rsa, keys.rsa_public },
    RS512 = { keys.rsa, keys.rsa_public },
    PS256 = { keys.rsa, keys.rsa_public },
    ES256 = { keys.ec, keys.ec_public },
    EdDSA = { keys.ed, keys.ed_public },
  }
  for alg, side in pairs(sides) do
    local token = jwt.sign({ sub = "7" }, side[1], { alg = alg, expires_in_s = 60 })
    t:eq(jwt.verify(token, side[2], { alg = alg }).sub, "7")
    local forged = token:gsub("^[^.]+%.[^.]+", function(data)
      return (data:gsub("%.[^.]+$", "." .. crypto.base64url('{"sub":"1","exp":9999999999}')))
    end)
    t:eq(code_of(forged, side[2], { alg = alg }), "signature")
    t:eq(code_of((token:gsub("[^.]+$", "AAAA")), side[2], { alg = alg }), "signature")
    t:eq(jwt.header(token), { alg = alg, typ = "JWT" })
  end
  t:raises("not of the kind", jwt.sign, {}, keys.ec, { alg = "RS256" })
  t:raises("not on the curve", jwt.sign, {}, keys.ec, { alg = "ES384" })
  t:raises("2048 bits", jwt.sign, {}, keys.rsa_small, { alg = "RS256" })
  t:raises("cannot sign", jwt.sign, {}, keys.rsa_public, { alg = "RS256" })
  t:raises("no key in PEM", jwt.sign, {}, "x", { alg = "RS256" })
end)

test("the token cannot choose its algorithm", function(t)
  local none = crypto.base64url('{"alg":"none"}') .. "." .. crypto.base64url('{"exp":9999999999}')
  t:eq(code_of(none .. ".", SECRET, { alg = "HS256" }), "malformed")
  t:eq(code_of(none .. ".AA", SECRET, { alg = "HS256" }), "algorithm")
  local confused = pack('{"alg":"HS256"}', '{"exp":9999999999}', keys.rsa_public)
  t:eq(code_of(confused, keys.rsa_public, { alg = "RS256" }), "algorithm")
  t:raises("key in PEM", jwt.verify, confused, keys.rsa_public, { alg = "HS256" })
  t:raises("option alg is needed", jwt.verify, confused, SECRET, {})
  t:raises("unknown algorithm 'none'", jwt.verify, confused, SECRET, { alg = "none" })
end)

test("a weak secret is refused", function(t)
  t:raises("32 bytes at least", jwt.sign, {}, "secret", { alg = "HS256" })
  t:raises("64 bytes at least", jwt.sign, {}, ("x"):rep(63), { alg = "HS512" })
end)

test("times, audience, issuer, subject and required claims are checked", function(t)
  local function sign(claims)
    return jwt.sign(claims, SECRET, { alg = "HS256" })
  end
  local function check(claims, options)
    options.alg = "HS256"
    options.now = 1000
    return code_of(sign(claims), SECRET, options)
  end
  t:eq(check({ exp = 1001 }, {}), "valid")
  t:eq(check({ exp = 1000.5 }, {}), "valid")
  t:eq(check({ exp = 1000 }, {}), "expired")
  t:eq(check({}, {}), "missing_claim")
  t:eq(check({}, { allow_no_expiry = true }), "valid")
  t:eq(check({ exp = "never" }, {}), "malformed")
  t:eq(check({ exp = 2000, nbf = 1001 }, {}), "not_yet")
  t:eq(check({ exp = 2000, nbf = 1001 }, { leeway_s = 1 }), "valid")
  t:eq(check({ exp = 2000, aud = "shop" }, {}), "audience")
  t:eq(check({ exp = 2000, aud = "shop" }, { audience = "shop" }), "valid")
  t:eq(check({ exp = 2000, aud = { "bar", "shop" } }, { audience = "shop" }), "valid")
  t:eq(check({ exp = 2000, aud = {} }, { audience = "shop" }), "audience")
  t:eq(check({ exp = 2000 }, { audience = "shop" }), "audience")
  t:eq(check({ exp = 2000, iss = "me" }, { issuer = "you" }), "issuer")
  t:eq(check({ exp = 2000, sub = "1" }, { subject = "2" }), "subject")
  t:eq(check({ exp = 2000 }, { require = { "jti" } }), "missing_claim")
end)

test("what is no token is malformed", function(t)
  local function check(token)
    return code_of(token, SECRET, { alg = "HS256" })
  end
  for _, text in ipairs({ "", "a", "a.b", "a.b.c", "....", "a.b.c.d", ("x"):rep(20000) }) do
    t:eq(check(text), "malformed")
  end
  t:eq(check(nil), "malformed")
  t:eq(check(pack("[]", "{}", SECRET)), "malformed")
  t:eq(check(pack('{"alg":"HS256"}', "[1]", SECRET)), "malformed")
  t:eq(check(pack('{"alg":"HS256","crit":["x"]}', '{"exp":9999999999}', SECRET)), "malformed")
  t:eq(check(pack('{"alg":"HS256"}', '{"exp":1e400}', SECRET)), "malformed")
end)

test("claims may be empty, and other fields travel in the header", function(t)
  local token = jwt.sign({}, SECRET, { alg = "HS256", header = { kid = "2026", alg = "none" } })
  t:eq(jwt.header(token), { alg = "HS256", typ = "JWT", kid = "2026" })
  local text = crypto.from_base64url(token:match("%.([^.]+)%."))
  t:eq(type(json.decode(text).iat), "number")
end)
