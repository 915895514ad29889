local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local InternalError = {}

local get_username = perigee.dependency({
  open = function()
    return "Rick"
  end,
  close = function(_, err)
    if getmetatable(err) == InternalError then
      print("We don't swallow the internal error here, we cannot")
    end
  end,
})

app:get("/items/{item_id}", {
  name = "get_item",
  params = { item_id = t.string },
  deps = { username = get_username },
}, function(req)
  local id = req.params.item_id
  if id == "portal-gun" then
    error(setmetatable({ "The portal gun is too dangerous to be owned by Rick" }, InternalError))
  elseif id ~= "plumbus" then
    error(perigee.http_error(404, "Item not found, there's only a plumbus here"))
  end
  return id
end)

return app
