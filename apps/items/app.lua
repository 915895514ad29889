-- Items: a small store in memory with every kind of input. README.md walks through it.
local perigee = require("perigee")
local crypto = require("perigee.crypto")
local t = perigee.types

local app = perigee.app({
  title = "Items",
  version = "1.0.0",
  description = "A store of items, kept in the memory of the process.",
  contact = { name = "The Perigee authors" },
  license = { name = "MIT", identifier = "MIT" },
  servers = { { url = "/", description = "Where this document comes from" } },
  openapi_tags = {
    { name = "items", description = "The store: reading is free, writing needs a key." },
    { name = "visitors", description = "What visitors leave behind." },
  },
})

-- What the document can say without rounding.
local MOST = 2 ^ 31 - 1

local Item = t.model("Item", {
  name = t.string({ min_length = 1, max_length = 50, examples = { "Lamp" } }),
  price = t.number({ gt = 0, examples = { 35.4 } }),
  tax = t.number({ optional = true }),
  description = t.string({ optional = true, max_length = 300 }),
  tags = t.array(t.string, { default = {}, unique = true }),
}, { strict = true })

local StoredItem = Item:extend("StoredItem", {
  id = t.integer({ ge = 1, le = MOST }),
})

local Problem = t.model("Problem", { detail = t.string })

-- The store. Each loop thread has its own; run with --loops 1, or put the items into a database.
local items = {}
local last_id = 0

local function find(id)
  return items[id] or error(perigee.http_error(404, "Item not found"))
end

-- Writing needs a key: the one in the environment, which is "secret" where there is none.
local KEY = os.getenv("ITEMS_KEY") or "secret"

local header = perigee.security.api_key({ header = "X-Key", description = "Who may write." })

local may_write = perigee.dependency({ deps = { key = header } }, function(req)
  if not crypto.equal(req.deps.key, KEY) then
    error(perigee.http_error(401, "Wrong key", { ["WWW-Authenticate"] = "APIKey" }))
  end
end)

-- What needs no key says so: documents without a word on it leave generators guessing.
local public = { security = perigee.json.array({}) }

local item_id = t.integer({
  ge = 1,
  le = MOST,
  description = "The number the store gave to the item.",
})
local not_found = { model = Problem, description = "There is no such item" }
local no_key = { model = Problem, description = "No key, or a wrong one" }
local unreadable = { model = Problem, description = "The body cannot be read" }

local router = perigee.router({ prefix = "/items", tags = { "items" } })

--- Lists items, a page at a time.
router:get("", {
  name = "list_items",
  openapi = public,
  query = {
    tag = t.array(t.string, { default = {}, description = "Only items with all of these tags." }),
    skip = t.integer({ default = 0, ge = 0, le = MOST }),
    limit = t.integer({ default = 10, ge = 1, le = 100 }),
  },
  response = t.array(StoredItem),
}, function(req)
  local page, skipped = {}, 0
  for id = 1, last_id do
    local item = items[id]
    local fits = item ~= nil
    for _, wanted in ipairs(fits and req.query.tag or {}) do
      local has = false
      for _, tag in ipairs(item.tags) do
        has = has or tag == wanted
      end
      fits = fits and has
    end
    if fits and skipped < req.query.skip then
      skipped = skipped + 1
    elseif fits and #page < req.query.limit then
      page[#page + 1] = item
    end
  end
  return page
end)

--- Adds an item; `Location` says where it is.
router:post("", {
  name = "create_item",
  body = Item,
  response = StoredItem,
  status = 201,
  deps = { may_write },
  responses = { [400] = unreadable, [401] = no_key },
}, function(req)
  last_id = last_id + 1
  local item = req.body
  item.id = last_id
  items[last_id] = item
  req.response:set("Location", app:url("read_item", { item_id = last_id }))
  return item
end)

--- Reads one item.
router:get("/{item_id}", {
  name = "read_item",
  openapi = public,
  params = { item_id = item_id },
  response = StoredItem,
  responses = { [404] = not_found },
}, function(req)
  return find(req.params.item_id)
end)

-- The fields that an item need not have.
local clearable = { tax = true, description = true }

--- Changes the fields that are sent, and leaves the others. Null takes away what an item need not have.
router:patch("/{item_id}", {
  name = "update_item",
  params = { item_id = item_id },
  body = Item:partial("ItemUpdate"),
  response = StoredItem,
  deps = { may_write },
  responses = { [400] = unreadable, [401] = no_key, [404] = not_found },
}, function(req)
  local item = find(req.params.item_id)
  for field in pairs(req.body:fields_set()) do
    if req.body[field] ~= nil or clearable[field] then
      item[field] = req.body[field]
    end
  end
  return item
end)

--- Takes an item out of the store.
router:delete("/{item_id}", {
  name = "delete_item",
  params = { item_id = item_id },
  status = 204,
  deps = { may_write },
  responses = { [401] = no_key, [404] = not_found },
}, function(req)
  find(req.params.item_id)
  items[req.params.item_id] = nil
end)

app:include(router)

local Visit = t.model("Visit", {
  visits = t.integer({ description = "How often, this time included." }),
  browser = t.string({ nullable = true }),
})

--- Counts the visits of a browser, by a cookie.
app:get("/visit", {
  name = "visit",
  tags = { "visitors" },
  openapi = public,
  cookies = { visits = t.integer({ default = 0, ge = 0, lt = 1000000 }) },
  headers = { user_agent = t.string({ optional = true }) },
  response = Visit,
}, function(req)
  local visits = req.cookies.visits + 1
  req.response:cookie("visits", tostring(visits), { http_only = true })
  return { visits = visits, browser = req.headers.user_agent or perigee.json.null }
end)

local Note = t.model("Note", {
  text = t.string,
  picture = t.object({ name = t.string, size = t.integer }, { nullable = true }),
})

--- Takes a note from a form, with a picture if there is one.
app:post("/notes", {
  name = "add_note",
  tags = { "visitors" },
  openapi = public,
  form = { text = t.string({ min_length = 1 }) },
  files = { picture = t.file({ default = perigee.json.null }) },
  response = Note,
  responses = { [400] = unreadable },
}, function(req)
  local picture = req.files.picture
  if picture ~= perigee.json.null then
    picture = { name = picture.name, size = picture.size }
  end
  return { text = req.form.text, picture = picture }
end)

return app
