local perigee = require("perigee")
local dependencies = require("dependencies")
local t = perigee.types

local router = perigee.router({
  prefix = "/items",
  tags = { "items" },
  deps = { dependencies.get_token_header },
  responses = { [404] = { description = "Not found" } },
})

local items = { plumbus = { name = "Plumbus" }, gun = { name = "Portal Gun" } }

router:get("/", { name = "read_items" }, function()
  return items
end)

router:get("/{item_id}", { name = "read_item", params = { item_id = t.string } }, function(req)
  local id = req.params.item_id
  if not items[id] then
    error(perigee.http_error(404, "Item not found"))
  end
  return { name = items[id].name, item_id = id }
end)

router:put("/{item_id}", {
  name = "update_item",
  params = { item_id = t.string },
  tags = { "custom" },
  responses = { [403] = { description = "Operation forbidden" } },
}, function(req)
  if req.params.item_id ~= "plumbus" then
    error(perigee.http_error(403, "You can only update the item: plumbus"))
  end
  return { item_id = req.params.item_id, name = "The great Plumbus" }
end)

return router
