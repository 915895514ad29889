local docs = require("perigee.docs")

local function route_of(config, prefix, path)
  for _, route in
    ipairs(docs.routes(config, prefix or "", function()
      return "{}"
    end))
  do
    if route.path == path then
      return route.handler
    end
  end
end

local function paths(config)
  local list = {}
  for i, route in ipairs(docs.routes(config, "", tostring)) do
    list[i] = route.path
  end
  return list
end

test("there are a document, two pages, the way back from OAuth2, and the pages' files", function(t)
  t:eq(
    paths({}),
    { "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/docs/assets/{asset}" }
  )
end)

test("each of them can be moved or switched off", function(t)
  t:eq(paths({ openapi_url = false }), {})
  t:eq(paths({ openapi_url = "" }), {})
  t:eq(paths({ docs_url = false }), { "/openapi.json", "/redoc", "/redoc/assets/{asset}" })
  t:eq(paths({ docs_url = "/d", redoc_url = false, swagger_ui_oauth2_redirect_url = false }), {
    "/openapi.json",
    "/d",
    "/d/assets/{asset}",
  })
end)

test("no page loads anything from another host", function(t)
  for _, path in ipairs({ "/docs", "/redoc", "/docs/oauth2-redirect" }) do
    local page = route_of({ title = "A <b> & c" }, "/sub", path)({}).body
    t:eq(page:find("https?://"), nil)
    t:eq(page:find("<b>", 1, true), nil)
  end
  local page = route_of({ root_path = "/api" }, "/sub", "/docs")({}).body
  t:eq(page:find('url: "/api/sub/openapi.json"', 1, true) ~= nil, true)
  t:eq(page:find('src="/api/sub/docs/assets/swagger-ui-bundle.js"', 1, true) ~= nil, true)
end)

test("parameters are added to Swagger UI's and cannot leave their script", function(t)
  local page = docs.swagger_ui({
    swagger_ui_parameters = { deepLinking = false, x = { theme = "</script>" } },
    swagger_ui_init_oauth = { clientId = "me" },
  }, { openapi = "/o", assets = "/a" })
  t:eq(page:find('"deepLinking": false,\n', 1, true) ~= nil, true)
  t:eq(page:find('"x": {"theme": "\\u003c/script\\u003e"},\n', 1, true) ~= nil, true)
  t:eq(page:find('ui.initOAuth({"clientId": "me"})', 1, true) ~= nil, true)
  t:eq(page:find("oauth2RedirectUrl", 1, true), nil)
end)

test("the document is made when asked for, once, and known by its tag", function(t)
  local made = 0
  local handler
  for _, route in
    ipairs(docs.routes({}, "", function()
      made = made + 1
      return '{"openapi":"3.1.0"}'
    end))
  do
    handler = handler or route.handler
  end
  t:eq(made, 0)
  local first = handler({ headers = {} })
  t:eq({ first.body, first.content_type }, { '{"openapi":"3.1.0"}', "application/json" })
  local again = handler({ headers = { ["if-none-match"] = first:get("ETag") } })
  t:eq({ again.status, again.body, made }, { 304, nil, 1 })
end)

test("clients get what they take, each with a tag of its own", function(t)
  local function get(accepted)
    local headers = { ["accept-encoding"] = accepted }
    local answer = route_of({}, "", "/openapi.json")({ headers = headers })
    return { answer.body, answer:get("ETag"), answer:get("Content-Encoding"), answer:get("Vary") }
  end
  local packed = { "packed {}", '"tag-gzip"', "gzip", "Accept-Encoding" }
  local plain = { "{}", '"tag"', nil, "Accept-Encoding" }
  for _, accepted in ipairs({ "gzip", "br, GZIP;q=0.5", "*", "identity;q=0,*;q=1", "x-gzip" }) do
    t:eq(get(accepted), packed)
  end
  for _, accepted in ipairs({ "", "br", "gzip;q=0", "gzip; q=0.000", "*, gzip;q=0", "*;q=0" }) do
    t:eq(get(accepted), plain)
  end
  t:eq(get(nil), plain)
end)

test("assets have their type, unknown ones are not found", function(t)
  local handler = route_of({}, "", "/docs/assets/{asset}")
  local css = handler({ params = { asset = "swagger-ui.css" }, headers = {} })
  t:eq({ css.status, css.content_type, css.body }, { 200, "text/css; charset=utf-8", "body{}" })
  local _, err = pcall(handler, { params = { asset = "../app.lua" }, headers = {} })
  t:eq(err.status, 404)
end)
