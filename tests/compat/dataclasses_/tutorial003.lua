local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
})

local Author = t.model("Author", {
  name = t.string,
  items = t.array(Item, {
    default = function()
      return {}
    end,
  }),
})

app:post("/authors/{author_id}/items/", {
  name = "create_author_items",
  params = { author_id = t.string },
  body = t.array(Item, { title = "Items" }),
  response = Author,
}, function(req)
  return { name = req.params.author_id, items = req.body }
end)

app:get("/authors/", { name = "get_authors", response = t.array(Author) }, function()
  return {
    {
      name = "Breaters",
      items = {
        { name = "Island In The Moon", description = "A place to be playin' and havin' fun" },
        { name = "Holy Buddies" },
      },
    },
    {
      name = "System of an Up",
      items = {
        { name = "Salt", description = "The kombucha mushroom people's favorite" },
        { name = "Pad Thai" },
        { name = "Lonely Night", description = "The mostests lonliest nightiest of allest" },
      },
    },
  }
end)

return app
