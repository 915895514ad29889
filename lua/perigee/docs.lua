--- The pages that show the OpenAPI document: Swagger UI, ReDoc, and the page to which OAuth2 servers send
--- the browser back. Their scripts are part of the binary; no page loads anything from another host
--- unless the app says so.

local errors = require("perigee.errors")
local host = require("perigee.host")
local json = require("perigee.json")
local ordered = require("perigee.ordered")
local response = require("perigee.response")

local M = {}

-- What Swagger UI is started with; the app's `swagger_ui_parameters` come on top.
local PARAMETERS = {
  { "dom_id", "#swagger-ui" },
  { "layout", "BaseLayout" },
  { "deepLinking", true },
  { "showExtensions", true },
  { "showCommonExtensions", true },
}

local SCRIPT_SAFE = { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" }

-- A value as JavaScript inside a page, with the blanks that Python's json.dumps leaves.
local function script_value(value)
  if type(value) ~= "table" then
    return (json.encode(value):gsub("[<>&]", SCRIPT_SAFE))
  end
  local parts = {}
  if json.is_array(value) or rawlen(value) > 0 then
    for i, item in ipairs(value) do
      parts[i] = script_value(item)
    end
    return "[" .. table.concat(parts, ", ") .. "]"
  end
  for _, key in ipairs(ordered.keys(value)) do
    parts[#parts + 1] = script_value(key) .. ": " .. script_value(value[key])
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local HTML_SAFE = { ["<"] = "&lt;", [">"] = "&gt;", ["&"] = "&amp;", ['"'] = "&quot;" }

local function html(text)
  return (text:gsub('[<>&"]', HTML_SAFE))
end

-- Replaces {{name}} by values[name].
local function fill(template, values)
  return (template:gsub("{{([%w_]+)}}", values))
end

local SWAGGER_UI = [[
<!DOCTYPE html>
<html>
<head>
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<link type="text/css" rel="stylesheet" href="{{css_url}}">
<link rel="shortcut icon" href="{{favicon_url}}">
<title>{{title}} - Swagger UI</title>
</head>
<body>
<div id="swagger-ui">
</div>
<script src="{{js_url}}"></script>
<script>
const ui = SwaggerUIBundle({
    url: {{openapi_url}},
{{parameters}}{{redirect}}    presets: [
        SwaggerUIBundle.presets.apis,
        SwaggerUIBundle.SwaggerUIStandalonePreset
        ],
})
{{oauth}}</script>
</body>
</html>
]]

local REDOC = [[
<!DOCTYPE html>
<html>
<head>
<title>{{title}} - ReDoc</title>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="shortcut icon" href="{{favicon_url}}">
<style>
  body { margin: 0; padding: 0; }
</style>
</head>
<body>
<noscript>
    ReDoc requires Javascript to function. Please enable it to browse the documentation.
</noscript>
<redoc spec-url="{{openapi_url}}"></redoc>
<script src="{{js_url}}"></script>
</body>
</html>
]]

-- Hands what the OAuth2 server said to the page that opened this one (the contract of Swagger UI's
-- oauth2RedirectUrl), after checking that the answer belongs to the question.
local OAUTH2_REDIRECT = [[
<!DOCTYPE html>
<html lang="en-US">
<head>
<title>Swagger UI: OAuth2 Redirect</title>
</head>
<body>
<script>
'use strict';
window.addEventListener('DOMContentLoaded', function () {
    const request = window.opener.swaggerUIRedirectOauth2;
    const text = window.location.hash.length > 1 ? window.location.hash : window.location.search;
    const answer = Object.fromEntries(new URLSearchParams(text.slice(1)));
    const valid = answer.state === request.state;
    const flow = request.auth.schema.get('flow');
    const byCode = ['accessCode', 'authorizationCode', 'authorization_code'].includes(flow);
    const complain = function (level, message) {
        request.errCb({authId: request.auth.name, source: 'auth', level: level, message: message});
    };
    if (byCode && !request.auth.code) {
        if (!valid) {
            complain('warning', 'Authorization may be unsafe: the state was changed on the way.');
        }
        if (answer.code) {
            delete request.state;
            request.auth.code = answer.code;
            request.callback({auth: request.auth, redirectUrl: request.redirectUrl});
        } else {
            complain('error', answer.error
                ? '[' + answer.error + ']: ' + (answer.error_description || 'no explanation was sent')
                : 'Authorization failed: the server sent no code.');
        }
    } else {
        request.callback({auth: request.auth, token: answer, isValid: valid, redirectUrl: request.redirectUrl});
    }
    window.close();
});
</script>
</body>
</html>
]]

local function parameter_lines(given)
  local parameters = ordered.map()
  for _, pair in ipairs(PARAMETERS) do
    parameters[pair[1]] = pair[2]
  end
  for _, key in ipairs(ordered.keys(given or {})) do
    parameters[key] = given[key]
  end
  local lines = {}
  for _, key in ipairs(ordered.keys(parameters)) do
    lines[#lines + 1] = script_value(key) .. ": " .. script_value(parameters[key]) .. ",\n"
  end
  return table.concat(lines)
end

---@class perigee.DocsUrls
---@field openapi string
---@field assets string
---@field redirect? string

--- The page of Swagger UI.
---@param config table what the app was made with
---@param urls perigee.DocsUrls
---@return string
function M.swagger_ui(config, urls)
  local redirect, oauth = "", ""
  if urls.redirect then
    redirect = "    oauth2RedirectUrl: window.location.origin + "
      .. script_value(urls.redirect)
      .. ",\n"
  end
  if config.swagger_ui_init_oauth then
    oauth = "ui.initOAuth(" .. script_value(config.swagger_ui_init_oauth) .. ")\n"
  end
  return fill(SWAGGER_UI, {
    title = html(config.title or "Perigee"),
    css_url = html(config.swagger_css_url or urls.assets .. "/swagger-ui.css"),
    js_url = html(config.swagger_js_url or urls.assets .. "/swagger-ui-bundle.js"),
    favicon_url = html(config.docs_favicon_url or "data:,"),
    openapi_url = script_value(urls.openapi),
    parameters = parameter_lines(config.swagger_ui_parameters),
    redirect = redirect,
    oauth = oauth,
  })
end

--- The page of ReDoc.
---@param config table
---@param urls perigee.DocsUrls
---@return string
function M.redoc(config, urls)
  return fill(REDOC, {
    title = html(config.title or "Perigee"),
    js_url = html(config.redoc_js_url or urls.assets .. "/redoc.standalone.js"),
    favicon_url = html(config.docs_favicon_url or "data:,"),
    openapi_url = html(urls.openapi),
  })
end

local TYPES = {
  css = "text/css; charset=utf-8",
  js = "text/javascript; charset=utf-8",
  txt = "text/plain; charset=utf-8",
}

-- Whether the client takes gzip (RFC 9110, 12.5.3): it is named, or everything is, and not refused.
local function accepts_gzip(req)
  local named, any = nil, nil
  for coding, parameters in (req.headers["accept-encoding"] or ""):gmatch("([^%s,;]+)([^,]*)") do
    local quality = parameters:match("^%s*;%s*[qQ]%s*=%s*([%d.]+)")
    local accepted = (tonumber(quality or "1") or 0) > 0
    coding = coding:lower()
    if coding == "gzip" or coding == "x-gzip" then
      named = named or accepted
    elseif coding == "*" then
      any = accepted
    end
  end
  if named == nil then
    return any or false
  end
  return named
end

local function not_modified(req, etag)
  local known = req.headers["if-none-match"]
  return known ~= nil and (known == "*" or known:find(etag, 1, true) ~= nil)
end

-- Answers with what stays the same as long as the binary and the app do: what `pack` returns to clients that
-- take gzip, what `unpack` returns to others.
local function cached(req, content_type, tag, pack, unpack)
  local gzip = accepts_gzip(req)
  local etag = ('"%s%s"'):format(tag, gzip and "-gzip" or "") -- other bytes, other tag
  local headers = {
    { "ETag", etag },
    { "Cache-Control", "no-cache" },
    { "Vary", "Accept-Encoding" },
  }
  if not_modified(req, etag) then
    return response.empty(304, { headers = headers })
  end
  if gzip then
    headers[#headers + 1] = { "Content-Encoding", "gzip" }
  end
  return response.bytes(gzip and pack() or unpack(), {
    content_type = content_type,
    headers = headers,
  })
end

local function serve_asset(req)
  local name = req.params.asset
  local packed, tag = host.assets.read(name)
  if not packed then
    error(errors.http_error(404), 0)
  end
  local content_type = TYPES[name:match("%.(%w+)$")]
  return cached(req, content_type, tag, function()
    return packed
  end, function()
    return host.assets.unpack(name)
  end)
end

-- The document, made when it is first asked for, and packed when somebody takes it so.
local function serve_document(make)
  local text, packed, tag
  local function pack()
    packed = packed or host.assets.pack(text)
    return packed
  end
  local function unpack()
    return text
  end
  return function(req)
    if not text then
      local made = make()
      text, tag = made, host.assets.tag(made)
    end
    return cached(req, "application/json", tag, pack, unpack)
  end
end

local function page(text)
  return function()
    return response.html(text)
  end
end

local function url_of(config, option, default)
  local url = config[option]
  if url == nil then
    return default
  end
  return url ~= "" and url or false -- switched off, perhaps from the environment
end

--- Where a person looks first: the path of Swagger UI, or of ReDoc. Nil when both are switched off.
---@param config table
---@return string?
function M.page_path(config)
  local path = url_of(config, "openapi_url", "/openapi.json")
    and (url_of(config, "docs_url", "/docs") or url_of(config, "redoc_url", "/redoc"))
  return path or nil
end

--- The routes that an app's documentation needs.
---@param config table what the app was made with
---@param prefix string where the app is mounted
---@param document fun(): string the document's JSON text, made when first asked for
---@return { path: string, handler: perigee.Handler }[]
function M.routes(config, prefix, document)
  local routes = {}
  local openapi_url = url_of(config, "openapi_url", "/openapi.json")
  if not openapi_url then
    return routes
  end
  local function add(path, handler)
    routes[#routes + 1] = { path = path, handler = handler }
  end
  add(openapi_url, serve_document(document))

  local docs_url = url_of(config, "docs_url", "/docs")
  local redoc_url = url_of(config, "redoc_url", "/redoc")
  local redirect_url = docs_url
    and url_of(config, "swagger_ui_oauth2_redirect_url", docs_url .. "/oauth2-redirect")
  local outside = (config.root_path or "") .. prefix
  local urls = {
    openapi = outside .. openapi_url,
    redirect = redirect_url and outside .. redirect_url or nil,
    assets = outside .. (docs_url or redoc_url or "") .. "/assets",
  }
  if docs_url then
    add(docs_url, page(M.swagger_ui(config, urls)))
  end
  if redirect_url then
    add(redirect_url, page(OAUTH2_REDIRECT))
  end
  if redoc_url then
    add(redoc_url, page(M.redoc(config, urls)))
  end
  if docs_url or redoc_url then
    add((docs_url or redoc_url) .. "/assets/{asset}", serve_asset)
  end
  return routes
end

return M
