-- Items: a small store in memory with every kind of input. README.md walks through it.
local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({
  title = "Items",
  version = "1.0.0",
  description = "A store of items, kept in the memory of the process.",
})

local Item = t.model("Item", {
  name = t.string({ min_length = 1, max_length = 50, examples = { "Lamp" } }),
  price = t.number({ gt = 0, examples = { 35.4 } }),
  tax = t.number({ optional = true }),
  description = t.string({ optional = true, max_length = 300 }),
  tags = t.set(t.string, { default = {} }),
})

local StoredItem = Item:extend("StoredItem", {
  id = t.integer({ ge = 1 }),
})

local Problem = t.model("Problem", { detail = t.string })

-- The store. Each loop thread has its own; run with --loops 1, or put the items into a database.
local items = {}
local last_id = 0

local function find(id)
  return items[id] or error(perigee.http_error(404, "Item not found"))
end

--- Writing needs a key: any but the empty one will do here.
local api_key = perigee.dependency({
  headers = { x_key = t.secret({ optional = true }) },
}, function(req)
  if not req.headers.x_key or req.headers.x_key == "" then
    error(perigee.http_error(401, "A key is needed in X-Key"))
  end
  return req.headers.x_key
end)

local item_id = t.integer({ ge = 1, description = "The number the store gave to the item." })
local not_found = { [404] = { model = Problem, description = "There is no such item" } }
local no_key = { model = Problem, description = "No key" }
local not_writable = { [401] = no_key, [404] = not_found[404] }

local router = perigee.router({ prefix = "/items", tags = { "items" } })

--- Lists items, a page at a time.
router:get("/", {
  name = "list_items",
  query = {
    tag = t.array(t.string, { default = {}, description = "Only items with all of these tags." }),
    skip = t.integer({ default = 0, ge = 0 }),
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

router:post("/", {
  name = "create_item",
  body = Item,
  response = StoredItem,
  status = 201,
  deps = { api_key },
  responses = { [401] = no_key },
}, function(req)
  last_id = last_id + 1
  local item = req.body
  item.id = last_id
  items[last_id] = item
  req.response:set("Location", app:url("read_item", { item_id = last_id }))
  return item
end)

router:get("/{item_id}", {
  name = "read_item",
  params = { item_id = item_id },
  response = StoredItem,
  responses = not_found,
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
  deps = { api_key },
  responses = not_writable,
}, function(req)
  local item = find(req.params.item_id)
  for field in pairs(req.body:fields_set()) do
    if req.body[field] ~= nil or clearable[field] then
      item[field] = req.body[field]
    end
  end
  return item
end)

router:delete("/{item_id}", {
  name = "delete_item",
  params = { item_id = item_id },
  status = 204,
  deps = { api_key },
  responses = not_writable,
}, function(req)
  find(req.params.item_id)
  items[req.params.item_id] = nil
end)

app:include(router)

--- Tells where a visitor comes from, by a cookie.
app:get("/visit", {
  name = "visit",
  cookies = { visits = t.integer({ default = 0, ge = 0 }) },
  headers = { user_agent = t.string({ optional = true }) },
}, function(req)
  local visits = req.cookies.visits + 1
  req.response:cookie("visits", tostring(visits), { http_only = true })
  return { visits = visits, browser = req.headers.user_agent or perigee.json.null }
end)

--- Takes a note from a form, with a picture if there is one.
app:post("/notes", {
  name = "add_note",
  form = { text = t.string({ min_length = 1 }) },
  files = { picture = t.file({ optional = true }) },
}, function(req)
  local picture = req.files.picture
  return {
    text = req.form.text,
    picture = picture and { name = picture.name, size = picture.size } or perigee.json.null,
  }
end)

return app
