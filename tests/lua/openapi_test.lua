local ordered = require("perigee.ordered")
local perigee = require("perigee")
local t_ = perigee.types

local function handler() end

local function document(declare, options)
  local app = perigee.app(options)
  declare(app)
  app:build()
  return app:document(), app
end

local function operation(options, path, method)
  local doc = document(function(app)
    app[method or "get"](app, path or "/items/{item_id}", options, handler)
  end)
  return doc.paths[path or "/items/{item_id}"][method or "get"], doc
end

test("the smallest document is FastAPI's", function(t)
  local doc = document(function(app)
    app:get("/", { name = "root" }, handler)
  end, { title = "FastAPI" })
  t:eq(
    ordered.encode(doc),
    '{"openapi":"3.1.0","info":{"title":"FastAPI","version":"0.1.0"},"paths":{"/":{"get":{"summary":"Root",'
      .. '"operationId":"root__get","responses":{"200":{"description":"Successful Response",'
      .. '"content":{"application/json":{"schema":{}}}}}}}}}'
  )
end)

test("ids and summaries come from the name, the name of the function, or the path", function(t)
  t:eq(operation({ name = "read_item" }).operationId, "read_item_items__item_id__get")
  local named = document(function(app)
    app:get("/x", handler)
  end).paths["/x"].get
  t:eq({ named.operationId, named.summary }, { "handler_x_get", "Handler" })
  local anonymous = document(function(app)
    app:delete("/items/{item_id}", function() end)
    app:get("/", function() end)
  end)
  local delete = anonymous.paths["/items/{item_id}"].delete
  t:eq({ delete.operationId, delete.summary }, { "items__item_id__delete", "Delete Items Item Id" })
  t:eq(anonymous.paths["/"].get.operationId, "root_get")
end)

test("an id that is given names what is made for the operation", function(t)
  local op = operation({ operation_id = "mine", response = t_.array(t_.any) }, "/x")
  t:eq(op.operationId, "mine")
  t:eq(op.responses["200"].content["application/json"].schema.title, "Response Mine")
end)

test("the comment above a route is its description, up to an annotation", function(t)
  local doc = document(function(app)
    --- Reads an item.
    ---
    --- * as it is
    ---@param req perigee.Request
    app:get("/commented", handler)

    app:get("/silent", function() end)

    --- Not this.
    app:get("/given", { description = "Given." }, handler)
  end)
  t:eq(doc.paths["/commented"].get.description, "Reads an item.\n\n* as it is")
  t:eq(doc.paths["/silent"].get.description, nil)
  t:eq(doc.paths["/given"].get.description, "Given.")
end)

test("parameters come in FastAPI's order, headers with dashes", function(t)
  local op = operation({
    query = { q = t_.string({ optional = true, description = "search", deprecated = true }) },
    headers = { x_token = t_.string },
    cookies = { ads_id = t_.string({ optional = true }) },
    params = { item_id = t_.integer({ ge = 1 }) },
  })
  local seen = {}
  for i, parameter in ipairs(op.parameters) do
    seen[i] = parameter["in"] .. " " .. parameter.name .. " " .. tostring(parameter.required)
  end
  t:eq(seen, { "path item_id true", "query q false", "header x-token true", "cookie ads_id false" })
  t:eq({ op.parameters[2].description, op.parameters[2].deprecated }, { "search", true })
  t:eq(op.parameters[3].schema.title, "X-Token")
  t:eq(ordered.encode(op.parameters[1].schema), '{"type":"integer","minimum":1,"title":"Item Id"}')
end)

test("a path parameter that nobody declared is documented, and needs no 422", function(t)
  local op = operation({})
  t:eq(op.parameters[1].name, "item_id")
  t:eq(op.responses["422"], nil)
  local doc = document(function(app)
    app:get("/files/{number:int}/{rest:path}", handler)
  end)
  local parameters = doc.paths["/files/{number}/{rest}"].get.parameters
  t:eq({ parameters[1].schema.type, parameters[2].schema.type }, { "integer", "string" })
end)

test("hidden parameters and operations are left out", function(t)
  local op = operation({ query = { a = t_.string, b = t_.string({ hidden = true }) } }, "/x")
  t:eq(#op.parameters, 1)
  local doc = document(function(app)
    app:get("/x", { hidden = true }, handler)
  end)
  t:eq(doc.paths["/x"], nil)
end)

test("a required declaration of a parameter wins", function(t)
  local dependency = perigee.dependency({ query = { token = t_.string } }, handler)
  local op = operation({
    query = { token = t_.string({ optional = true }) },
    deps = { dependency },
  }, "/x")
  t:eq(#op.parameters, 1)
  t:eq(op.parameters[1].required, true)
end)

test("one body is itself, several values are a model of their own", function(t)
  local Item = t_.model("Item", { a = t_.integer })
  local single = operation({ body = Item }, "/x", "post")
  t:eq(
    ordered.encode(single.requestBody),
    '{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Item"}}},"required":true}'
  )
  local several, doc =
    operation({ name = "f", body = { item = Item, n = t_.integer } }, "/x", "post")
  t:eq(
    several.requestBody.content["application/json"].schema["$ref"],
    "#/components/schemas/Body_f_x_post"
  )
  t:eq(doc.components.schemas.Body_f_x_post.required, { "item", "n" })
  t:eq(operation({ body = Item({ optional = true }) }, "/x", "post").requestBody.required, nil)
end)

test("forms are urlencoded, with files multipart", function(t)
  local form = operation({ form = { a = t_.string } }, "/x", "post")
  t:eq(next(form.requestBody.content), "application/x-www-form-urlencoded")
  local files, doc = operation({
    name = "up",
    form = { note = t_.string },
    files = { file = t_.file },
  }, "/x", "post")
  t:eq(next(files.requestBody.content), "multipart/form-data")
  t:eq(ordered.keys(doc.components.schemas.Body_up_x_post.properties), { "note", "file" })
end)

test("a GET with a body documents it, OPTIONS does not", function(t)
  t:eq(operation({ body = { a = t_.string } }, "/x", "get").requestBody ~= nil, true)
  t:eq(operation({ body = { a = t_.string } }, "/x", "options").requestBody, nil)
end)

test("responses have a schema where a body is allowed", function(t)
  local op = operation({ name = "f", response = t_.array(t_.integer), status = 201 }, "/x")
  t:eq(
    ordered.encode(op.responses["201"].content["application/json"].schema),
    '{"items":{"type":"integer"},"type":"array","title":"Response F X Get"}'
  )
  t:eq(operation({ status = 204 }, "/x").responses["204"].content, nil)
  t:eq(operation({ produces = false }, "/x").responses["200"].content, nil)
  t:eq(
    ordered.encode(operation({ produces = "text/html" }, "/x").responses["200"].content),
    '{"text/html":{"schema":{"type":"string"}}}'
  )
end)

test("additional responses are merged, router's first, and can replace the 422", function(t)
  local Message = t_.model("Message", { message = t_.string })
  local doc = document(function(app)
    local router = perigee.router({ responses = { [404] = { description = "router" } } })
    router:get("/x", {
      query = { q = t_.string },
      responses = {
        [200] = { description = "Fine", content = { ["image/png"] = {} } },
        [404] = { model = Message },
        ["4XX"] = {},
      },
    }, handler)
    router:get("/y", handler)
    app:include(router)
  end)
  local responses = doc.paths["/x"].get.responses
  t:eq(responses["200"].description, "Fine")
  t:eq(ordered.keys(responses["200"].content), { "application/json", "image/png" })
  t:eq(responses["404"].description, "Not Found")
  t:eq(responses["404"].content["application/json"].schema["$ref"], "#/components/schemas/Message")
  t:eq(responses["4XX"].description, "Client Error")
  t:eq(responses["422"], nil)
  t:eq(doc.components.schemas.HTTPValidationError, nil)
  t:eq(doc.paths["/y"].get.responses["404"].description, "router")
end)

test("security schemes are collected once, their scopes merged", function(t)
  local security = perigee.security
  local oauth = security.oauth2_password({ token_url = "token", scopes = { me = "Read me" } })
  local user = perigee.dependency({ deps = { token = oauth }, uses_scopes = true }, handler)
  local active = perigee.dependency({ deps = { user = security.scopes(user, { "me" }) } }, handler)
  local op, doc = operation({ deps = { user = security.scopes(active, { "items" }) } }, "/x")
  t:eq(ordered.encode(op.security), '[{"OAuth2PasswordBearer":["items","me"]}]')
  t:eq(
    ordered.encode(doc.components.securitySchemes),
    '{"OAuth2PasswordBearer":{"type":"oauth2","flows":{"password":{"scopes":{"me":"Read me"},"tokenUrl":"token"}}}}'
  )
  t:eq(op.responses["422"], nil)
end)

test("an operation's own keys are merged into its document", function(t)
  local op = operation(
    { openapi = { ["x-flag"] = true, responses = { ["200"] = { description = "d" } } } },
    "/x"
  )
  t:eq(op["x-flag"], true)
  t:eq(op.responses["200"].description, "d")
  t:eq(op.responses["200"].content ~= nil, true)
end)

test("callbacks and webhooks are documented and never served", function(t)
  local Event = t_.model("Event", { paid = t_.boolean })
  local callbacks = perigee.router()
  callbacks:post("{$callback_url}/invoices/{$request.body.id}", { name = "notify", body = Event })
  local app = perigee.app({ openapi_url = false })
  app:post("/invoices", { name = "create", callbacks = callbacks }, handler)
  app.webhooks:post("new-event", { name = "new_event", body = Event })
  local built = app:build()
  local doc = app:document()
  t:eq(#built.operations, 1)
  local callback =
    doc.paths["/invoices"].post.callbacks.notify["{$callback_url}/invoices/{$request.body.id}"].post
  t:eq(callback.parameters, nil)
  t:eq(
    callback.requestBody.content["application/json"].schema["$ref"],
    "#/components/schemas/Event"
  )
  t:eq(doc.webhooks["new-event"].post.operationId, "new_eventnew_event_post")
end)

test("an app's metadata, servers and tags are written", function(t)
  local doc = document(function(app)
    app:get("/x", { tags = { "b" } }, handler)
  end, {
    version = "2",
    summary = "s",
    description = "d",
    terms_of_service = "tos",
    contact = { email = "a@b.c", name = "n" },
    license = { name = "MIT", identifier = "MIT" },
    servers = { { url = "/other" } },
    root_path = "/api",
    tags = { "a" },
    openapi_tags = { { name = "a", description = "A" } },
    external_docs = { url = "u" },
  })
  t:eq(
    ordered.encode(doc.info),
    '{"title":"Perigee","summary":"s","description":"d","termsOfService":"tos",'
      .. '"contact":{"name":"n","email":"a@b.c"},"license":{"name":"MIT","identifier":"MIT"},"version":"2"}'
  )
  t:eq(ordered.encode(doc.servers), '[{"url":"/api"},{"url":"/other"}]')
  t:eq(doc.paths["/x"].get.tags, { "a", "b" })
  t:eq(ordered.encode(doc.tags), '[{"description":"A","name":"a"}]')
  t:eq(doc.externalDocs, { url = "u" })
end)

test("the app may change the document", function(t)
  local app = perigee.app()
  app:openapi(function(doc)
    doc.info["x-logo"] = "logo.png"
  end)
  app:build()
  t:eq(app:document().info["x-logo"], "logo.png")
end)

test("a mounted app has a document of its own, with paths as it knows them", function(t)
  local sub = perigee.app({ title = "Sub" })
  sub:get("/sub", { name = "read_sub" }, handler)
  local app = perigee.app()
  app:get("/app", { name = "read_main" }, handler)
  app:mount("/subapi", sub)
  local built = app:build()
  local served = {}
  for _, op in ipairs(built.operations) do
    served[op.path] = true
  end
  t:eq({ served["/subapi/sub"], served["/subapi/docs"], served["/docs"] }, { true, true, true })
  t:eq(app:document().paths["/subapi/sub"], nil)
  local doc = sub:document()
  t:eq(doc.paths["/sub"].get.operationId, "read_sub_sub_get")
  t:eq(ordered.encode(doc.servers), '[{"url":"/subapi"}]')
end)

test("reverse urls are filled and escaped", function(t)
  local app = perigee.app({ root_path = "/api" })
  app:get("/items/{item_id}/{rest:path}", { name = "read" }, handler)
  app:build()
  t:eq(app:url("read", { item_id = "a/b ä", rest = "x/y z" }), "/api/items/a%2Fb%20%C3%A4/x/y%20z")
  t:raises("needs the parameter 'rest'", app.url, app, "read", { item_id = 1 })
  t:raises("has no parameter 'other'", app.url, app, "read", { item_id = 1, rest = "", other = 1 })
  t:raises("is empty", app.url, app, "read", { item_id = "", rest = "x" })
  t:raises("no operation named 'raed' (did you mean 'read'?)", app.url, app, "raed")
end)

test("a streamed array is documented by its items, whatever else answers JSON", function(t)
  local app = perigee.app({})
  app:get("/any", function() end)
  app:get("/array", { produces = "application/json", item = perigee.types.integer }, function() end)
  app:build()
  local answer = app:document().paths["/array"].get.responses["200"]
  t:eq(answer.content["application/json"].schema.type, "array")
end)

test("a document is 3.1.0 unless something streams, or the app decides", function(t)
  local function version(options, produces)
    local app = perigee.app(options)
    app:get("/", { produces = produces }, function() end)
    app:build()
    return app:document().openapi
  end
  t:eq(version({}), "3.1.0")
  t:eq(version({}, "application/jsonl"), "3.2.0")
  t:eq(version({ openapi_version = "3.1.0" }, "text/event-stream"), "3.1.0")
  t:raises("openapi_version must be", perigee.app, { openapi_version = "3.0.0" })
  t:raises("needs produces", function()
    perigee.app():get("/", { item = perigee.types.string }, function() end)
  end)
end)

test("what operations share is what each of them would have alone", function(t)
  local Item = t_.model("Item", { name = t_.string, at = t_.datetime({ optional = true }) })
  local Form = t_.model("Form", { name = t_.string })
  local maybe = Item({ nullable = true })
  local token = perigee.dependency({ headers = { x_token = t_.string } }, handler)
  local limit = t_.integer({ default = 10 })
  local list = {
    {},
    { query = { limit = limit } },
    { query = { limit = limit, max = limit }, response = Item },
    { headers = { limit = limit }, response = Item },
    { headers = { x_token = limit }, convert_underscores = false },
    { deps = { token } },
    { deps = { token }, query = { q = t_.string }, response = Item },
    { response = Item, status = 201, response_description = "Made" },
    { response = Item, status = 201 },
    { response = t_.array(Item) },
    { response = maybe },
    { response = maybe, query = { q = t_.string } },
    { item = Item, produces = "application/json" },
    { item = Item, produces = "text/event-stream" },
    { produces = "application/jsonl" },
    { produces = "text/plain" },
    { produces = "text/plain", response = Item },
    { produces = false },
    { status = 204 },
    { status = 422, query = { q = t_.string } },
    { body = Item, response = Item },
    { body = Item, response = Item, responses = { [404] = { model = Item } } },
    { body = Item, response = Item, responses = { ["4XX"] = { description = "No" } } },
    {
      body = Item,
      response = Item,
      openapi = { responses = { ["200"] = { description = "Own" } } },
    },
    { body = maybe },
    { body = { item = Item } },
    { form = Form },
    { body = Form },
  }
  local function declare(app, number)
    app:post("/" .. number, list[number], handler)
    app:put("/" .. number, list[number], handler)
  end
  local all = document(function(app)
    for number in ipairs(list) do
      declare(app, number)
    end
  end)
  for number in ipairs(list) do
    local alone = document(function(app)
      declare(app, number)
    end)
    local path = "/" .. number
    t:eq(ordered.encode(all.paths[path]), ordered.encode(alone.paths[path]))
  end
end)

-- What these tests expect is what FastAPI 0.141.1 writes.
test("a path with parameters is left as Pydantic built it", function(t)
  local op = operation({
    query = {
      { "q", t_.string({ min_length = 2, nullable = true, default = "ab", description = "d" }) },
      { "mail", t_.email({ default = "a@b.co", description = "d" }) },
      { "key", t_.secret({ title = "T" }) },
      { "pin", t_.secret({ title = "T", max_length = 4 }) },
      { "k", t_.literal({ "a", "b" }, { default = "a" }) },
      { "s", t_.set(t_.number({ lt = 5 }), { max_items = 3 }) },
    },
    body = { ids = t_.array(t_.integer({ ge = 1 }), { min_items = 1 }) },
  }, "/built", "post")
  t:eq(ordered.keys(op), { "summary", "operationId", "parameters", "requestBody", "responses" })
  local schemas = {}
  for i, parameter in ipairs(op.parameters) do
    schemas[i] = ordered.encode(parameter.schema)
  end
  t:eq(schemas, {
    '{"anyOf":[{"type":"string","minLength":2},{"type":"null"}],"description":"d","default":"ab","title":"Q"}',
    '{"type":"string","description":"d","format":"email","default":"a@b.co","title":"Mail"}',
    '{"type":"string","title":"T","writeOnly":true,"format":"password"}',
    '{"type":"string","writeOnly":true,"format":"password","maxLength":4,"title":"T"}',
    '{"enum":["a","b"],"type":"string","default":"a","title":"K"}',
    '{"type":"array","uniqueItems":true,"items":{"type":"number","exclusiveMaximum":5},"maxItems":3,"title":"S"}',
  })
  local body = operation({
    query = { q = t_.string },
    body = t_.array(t_.integer({ ge = 1 }), { min_items = 1 }),
  }, "/built", "post").requestBody
  t:eq(
    ordered.encode(body),
    '{"required":true,"content":{"application/json":{"schema":{"type":"array",'
      .. '"items":{"type":"integer","minimum":1},"minItems":1,"title":"Body"}}}}'
  )
end)

test("a path without parameters goes through FastAPI's models of OpenAPI", function(t)
  local doc = document(function(app)
    app:post("/modelled", { body = t_.array(t_.integer({ ge = 1 }), { min_items = 1 }) }, handler)
    app:get("/modelled", { deprecated = true, tags = { "a" } }, handler)
    app.webhooks:post("new", { query = { q = t_.integer({ ge = 1 }) } }, handler)
  end)
  local item = doc.paths["/modelled"]
  t:eq(ordered.keys(item), { "get", "post" })
  t:eq(
    ordered.encode(item.post.requestBody),
    '{"content":{"application/json":{"schema":{"items":{"type":"integer","minimum":1.0},"type":"array",'
      .. '"minItems":1,"title":"Body"}}},"required":true}'
  )
  t:eq(ordered.keys(item.get), { "tags", "summary", "operationId", "responses", "deprecated" })
  t:eq(
    ordered.encode(doc.webhooks.new.post.parameters),
    '[{"required":true,"schema":{"type":"integer","minimum":1.0,"title":"Q"},"name":"q","in":"query"}]'
  )
end)
