--- Security schemes: dependencies that read a credential, refuse the request without it, and stand in
--- the document. What a credential is worth is for the app to decide.

local dependency = require("perigee.dependency")
local errors = require("perigee.errors")
local types = require("perigee.types")

local M = {}

local COMMON = {
  scheme_name = "string",
  description = "string",
  optional = "boolean",
  status = "integer",
}

local function options(own)
  for name, expected in pairs(COMMON) do
    own[name] = expected
  end
  return own
end

-- Makes the dependency. `read(value)` returns what the handler gets, or nil to refuse; a credential
-- that is there but broken is refused even where none is needed: read returns nil and true.
local function scheme(name, given, challenge, inputs, document, read)
  local function refusal()
    local status = given.status or 401
    local headers = status == 401 and { ["WWW-Authenticate"] = challenge } or nil
    return errors.http_error(status, "Not authenticated", headers)
  end
  local source = next(inputs)
  local key = next(inputs[source])
  local self = dependency.new(inputs, function(req)
    local value, broken = read(req[source][key] or "")
    if value == nil and (broken or not given.optional) then
      error(refusal(), 0)
    end
    return value
  end)
  document.description = given.description
  self.scheme = { name = given.scheme_name or name, document = document }
  return self
end

local function check(what, given, known, needed)
  given = given or {}
  if type(given) ~= "table" then
    errors.raise("%s: options must be a table, not %s", what, type(given))
  end
  errors.check_options(what, given, known)
  if needed and given[needed] == nil then
    errors.raise("%s: the option '%s' is needed", what, needed)
  end
  return given
end

local function authorization()
  return { headers = { authorization = types.string({ optional = true }) } }
end

-- "Bearer abc" -> "Bearer", "abc"
local function split(value)
  local name, rest = value:match("^([^ ]*) ?(.*)$")
  return name, rest:match("^%s*(.-)%s*$")
end

local function credentials(wanted)
  return function(value)
    local name, rest = split(value)
    if name == "" or rest == "" or (wanted and name:lower() ~= wanted) then
      return nil
    end
    return { scheme = name, credentials = rest }
  end
end

local function token(value)
  local name, rest = split(value)
  return name:lower() == "bearer" and rest or nil
end

local function whole(value)
  return value ~= "" and value or nil
end

local BASE64 = {}
for i, range in ipairs({ { "A", "Z" }, { "a", "z" }, { "0", "9" } }) do
  for code = range[1]:byte(), range[2]:byte() do
    BASE64[string.char(code)] = code - range[1]:byte() + (i - 1) * 26
  end
end
BASE64["+"], BASE64["/"] = 62, 63

-- As Python's b64decode: other characters are ignored, the padding must be right. Nil when it is not.
local function base64_decode(text)
  text = text:gsub("[^%w+/=]", "")
  local digits = text:match("^[%w+/]*")
  local padding = (4 - #digits % 4) % 4
  if padding == 3 or #text - #digits < padding then
    return nil
  end
  local bytes = {}
  for quad in (digits .. ("A"):rep(padding)):gmatch("....") do
    local bits = 0
    for digit in quad:gmatch(".") do
      bits = bits << 6 | BASE64[digit]
    end
    bytes[#bytes + 1] = string.char(bits >> 16, bits >> 8 & 255, bits & 255)
  end
  local decoded = table.concat(bytes)
  return decoded:sub(1, #decoded - padding)
end

--- HTTP Basic. The value is { username, password }.
---@param given? { realm?: string, scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.basic(given)
  local what = "security.basic"
  given = check(what, given, options({ realm = "string" }))
  local challenge = given.realm and ('Basic realm="%s"'):format(given.realm) or "Basic"
  local document = { type = "http", scheme = "basic" }
  return scheme("HTTPBasic", given, challenge, authorization(), document, function(value)
    local name, rest = split(value)
    if name:lower() ~= "basic" then
      return nil
    end
    local plain = base64_decode(rest)
    if not plain or plain:find("[\128-\255]") then
      return nil, true
    end
    local username, password = plain:match("^([^:]*):(.*)$")
    if not username then
      return nil, true
    end
    return { username = username, password = password }
  end)
end

--- HTTP Bearer. The value is { scheme, credentials }.
---@param given? { bearer_format?: string, scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.bearer(given)
  local what = "security.bearer"
  given = check(what, given, options({ bearer_format = "string" }))
  local document = { type = "http", scheme = "bearer", bearerFormat = given.bearer_format }
  local read = credentials("bearer")
  return scheme("HTTPBearer", given, "Bearer", authorization(), document, read)
end

--- HTTP Digest. The value is { scheme, credentials }.
---@param given? { scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.digest(given)
  local what = "security.digest"
  given = check(what, given, options({}))
  local document = { type = "http", scheme = "digest" }
  local read = credentials("digest")
  return scheme("HTTPDigest", given, "Digest", authorization(), document, read)
end

--- Any other HTTP authentication scheme. The value is { scheme, credentials }, whatever the scheme.
---@param given { scheme: string, scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.http(given)
  local what = "security.http"
  given = check(what, given, options({ scheme = "string" }), "scheme")
  local document = { type = "http", scheme = given.scheme }
  local challenge = given.scheme:sub(1, 1):upper() .. given.scheme:sub(2):lower()
  return scheme("HTTPBase", given, challenge, authorization(), document, credentials())
end

local API_KEYS = {
  { option = "header", key = "headers", name = "APIKeyHeader" },
  { option = "query", key = "query", name = "APIKeyQuery" },
  { option = "cookie", key = "cookies", name = "APIKeyCookie" },
}

--- An API key in a header, a query parameter or a cookie, whose name is given. The value is the key.
---@param given { header?: string, query?: string, cookie?: string, scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.api_key(given)
  local what = "security.api_key"
  given = check(what, given, options({ header = "string", query = "string", cookie = "string" }))
  local place
  for _, candidate in ipairs(API_KEYS) do
    if given[candidate.option] then
      if place then
        errors.raise("%s: a key is in one place: %s or %s", what, place.option, candidate.option)
      end
      place = candidate
    end
  end
  if not place then
    errors.raise("%s: one of the options header, query and cookie is needed", what)
  end
  local name = given[place.option]
  local inputs = { [place.key] = { key = types.string({ optional = true, alias = name }) } }
  local document = { type = "apiKey", ["in"] = place.option, name = name }
  return scheme(place.name, given, "APIKey", inputs, document, whole)
end

local function flow(given)
  return {
    authorizationUrl = given.authorization_url,
    tokenUrl = given.token_url,
    refreshUrl = given.refresh_url,
    scopes = given.scopes or {},
  }
end

--- OAuth2 with the password flow. The value is the token.
---@param given { token_url: string, refresh_url?: string, scopes?: table<string, string>, scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.oauth2_password(given)
  local what = "security.oauth2_password"
  local known = options({ token_url = "string", refresh_url = "string", scopes = "table" })
  given = check(what, given, known, "token_url")
  local document = { type = "oauth2", flows = { password = flow(given) } }
  return scheme("OAuth2PasswordBearer", given, "Bearer", authorization(), document, token)
end

--- OAuth2 with the authorization code flow. The value is the token.
---@param given { authorization_url: string, token_url: string, refresh_url?: string, scopes?: table<string, string>, scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.oauth2_code(given)
  local what = "security.oauth2_code"
  local known = options({
    authorization_url = "string",
    token_url = "string",
    refresh_url = "string",
    scopes = "table",
  })
  given = check(what, check(what, given, known, "authorization_url"), known, "token_url")
  local document = { type = "oauth2", flows = { authorizationCode = flow(given) } }
  local name = "OAuth2AuthorizationCodeBearer"
  return scheme(name, given, "Bearer", authorization(), document, token)
end

local FLOWS = { "implicit", "password", "client_credentials", "authorization_code" }
local FLOW_OPTIONS = {
  authorization_url = "string",
  token_url = "string",
  refresh_url = "string",
  scopes = "table",
}

--- OAuth2 with any flows. The value is the Authorization header as it was sent.
---@param given { flows?: table<string, table>, scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.oauth2(given)
  local what = "security.oauth2"
  given = check(what, given, options({ flows = "table" }))
  local known, flows = {}, {}
  for _, name in ipairs(FLOWS) do
    known[name] = "table"
  end
  errors.check_options(what .. ": flows", given.flows or {}, known)
  for name, declared in pairs(given.flows or {}) do
    errors.check_options(what .. ": " .. name, declared, FLOW_OPTIONS)
    local camel = name:gsub("_(%l)", string.upper)
    flows[camel] = flow(declared)
  end
  local document = { type = "oauth2", flows = flows }
  return scheme("OAuth2", given, "Bearer", authorization(), document, whole)
end

--- OpenID Connect. The value is the Authorization header as it was sent.
---@param given { url: string, scheme_name?: string, description?: string, optional?: boolean }
---@return perigee.Dependency
function M.openid(given)
  local what = "security.openid"
  given = check(what, given, options({ url = "string" }), "url")
  local document = { type = "openIdConnect", openIdConnectUrl = given.url }
  return scheme("OpenIdConnect", given, "Bearer", authorization(), document, whole)
end

local function password_form(grant_type, password)
  return dependency.new({
    form = {
      grant_type = types.string(grant_type),
      username = types.string,
      password = types.string(password),
      scope = types.string({ default = "" }),
      client_id = types.string({ optional = true }),
      client_secret = types.string({ optional = true, schema_extra = password.schema_extra }),
    },
  }, function(req)
    local form = req.form
    local scopes = {}
    for scope in form.scope:gmatch("%S+") do
      scopes[#scopes + 1] = scope
    end
    return {
      grant_type = form.grant_type,
      username = form.username,
      password = form.password,
      scopes = scopes,
      client_id = form.client_id,
      client_secret = form.client_secret,
    }
  end)
end

--- The form of OAuth2's password flow, as a dependency whose value is { username, password, scopes = {...},
--- grant_type, client_id, client_secret }.
M.password_form = password_form(
  { optional = true, pattern = "^password$" },
  { schema_extra = { format = "password" } }
)

--- The same with `grant_type` required, as the specification has it.
M.strict_password_form = password_form({ pattern = "^password$" }, {})

M.scopes = dependency.scoped

return M
