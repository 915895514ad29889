local security = require("perigee.security")

-- What a scheme makes of an Authorization header: its value, or the status and challenge it refuses with.
local function try(scheme, value)
  local ok, result = pcall(scheme.run, { headers = { authorization = value } })
  if ok then
    return result
  end
  return { status = result.status, detail = result.detail, headers = result.headers }
end

local function refusal(challenge)
  return {
    status = 401,
    detail = "Not authenticated",
    headers = { { "WWW-Authenticate", challenge } },
  }
end

test("basic reads user and password", function(t)
  local basic = security.basic()
  t:eq(try(basic, "Basic am9objpzZWNyZXQ="), { username = "john", password = "secret" })
  t:eq(try(basic, "bAsIc am9objpzOmVjcmV0"), { username = "john", password = "s:ecret" })
  t:eq(try(basic, "Basic Og=="), { username = "", password = "" })
  for _, value in ipairs({
    "Basic notabase64token",
    "Basic am9obnNlY3JldA==",
    "Basic am9objpzZWNyZXQ",
    "Basic w6Q6w6Q=",
    "Basic",
    "Bearer am9objpzZWNyZXQ=",
  }) do
    t:eq(try(basic, value), refusal("Basic"))
  end
  t:eq(try(basic), refusal("Basic"))
  t:eq(try(security.basic({ realm = "simple" })), refusal('Basic realm="simple"'))
end)

test("an optional scheme lets a missing credential pass, not a broken one", function(t)
  local basic = security.basic({ optional = true })
  t:eq(try(basic), nil)
  t:eq(try(basic, "Bearer x"), nil)
  t:eq(try(basic, "Basic notabase64token"), refusal("Basic"))
  t:eq(try(security.bearer({ optional = true }), "Basic x"), nil)
end)

test("bearer and digest split scheme and credentials", function(t)
  t:eq(try(security.bearer(), "Bearer  abc "), { scheme = "Bearer", credentials = "abc" })
  t:eq(try(security.bearer(), "Bearer "), refusal("Bearer"))
  t:eq(try(security.bearer(), "Basic abc"), refusal("Bearer"))
  t:eq(try(security.digest(), "Digest a=b"), { scheme = "Digest", credentials = "a=b" })
  t:eq(try(security.digest()), refusal("Digest"))
  t:eq(try(security.http({ scheme = "other" }), "Foo bar"), { scheme = "Foo", credentials = "bar" })
  t:eq(try(security.http({ scheme = "OTHER" })), refusal("Other"))
end)

test("OAuth2 gives the token, OpenID Connect and plain OAuth2 the whole header", function(t)
  local password = security.oauth2_password({ token_url = "token" })
  t:eq(try(password, "Bearer abc"), "abc")
  t:eq(try(password, "bearer"), "")
  t:eq(try(password, "Basic abc"), refusal("Bearer"))
  t:eq(try(security.openid({ url = "/openid" }), "Foo bar"), "Foo bar")
  t:eq(try(security.oauth2(), ""), refusal("Bearer"))
end)

test("another status refuses without a challenge", function(t)
  t:eq(try(security.bearer({ status = 403 })), { status = 403, detail = "Not authenticated" })
end)

test("API keys come from header, query or cookie", function(t)
  for option, source in pairs({ header = "headers", query = "query", cookie = "cookies" }) do
    local scheme = security.api_key({ [option] = "x-key" })
    t:eq({ scheme.groups[1].as, scheme.groups[1].fields[1].type.alias }, { source, "x-key" })
    t:eq(scheme.run({ [source] = { key = "abc" } }), "abc")
    local _, err = pcall(scheme.run, { [source] = { key = "" } })
    t:eq(err.headers, { { "WWW-Authenticate", "APIKey" } })
    t:eq(scheme.scheme.document, { type = "apiKey", ["in"] = option, name = "x-key" })
  end
end)

test("the documents are OpenAPI's", function(t)
  local code = security.oauth2_code({
    authorization_url = "authorize",
    token_url = "token",
    refresh_url = "refresh",
    scopes = { me = "Me" },
    description = "d",
  })
  t:eq(code.scheme, {
    name = "OAuth2AuthorizationCodeBearer",
    document = {
      type = "oauth2",
      description = "d",
      flows = {
        authorizationCode = {
          authorizationUrl = "authorize",
          tokenUrl = "token",
          refreshUrl = "refresh",
          scopes = { me = "Me" },
        },
      },
    },
  })
  local both =
    security.oauth2({ flows = { client_credentials = { token_url = "t" } }, scheme_name = "Mine" })
  t:eq(both.scheme.name, "Mine")
  t:eq(both.scheme.document.flows, { clientCredentials = { tokenUrl = "t", scopes = {} } })
end)

test("the password form splits its scopes", function(t)
  local form = { username = "u", password = "p", scope = " a  b ", grant_type = "password" }
  t:eq(security.password_form.run({ form = form }), {
    username = "u",
    password = "p",
    scopes = { "a", "b" },
    grant_type = "password",
  })
end)

test("mistakes are load errors", function(t)
  local function mistake(part, make, ...)
    t:raises(part, function(...)
      local _ = security[make](...)
    end, ...)
  end
  mistake("the option 'token_url' is needed", "oauth2_password", {})
  mistake("one of the options header, query and cookie is needed", "api_key", {})
  mistake("a key is in one place: header or query", "api_key", { header = "a", query = "b" })
  mistake("unknown option 'relam' (did you mean 'realm'?)", "basic", { relam = "x" })
  mistake(
    "unknown option 'pasword' (did you mean 'password'?)",
    "oauth2",
    { flows = { pasword = {} } }
  )
  mistake("a list of scopes is needed, not string", "scopes", print, "me")
end)
