local perigee = require("perigee")
local t = perigee.types
local null = perigee.json.null

local app = perigee.app({ title = "FastAPI" })

local data = {
  ["isbn-9781529046137"] = "The Hitchhiker's Guide to the Galaxy",
  ["imdb-tt0371724"] = "The Hitchhiker's Guide to the Galaxy",
  ["isbn-9781439512982"] = "Isaac Asimov: Complete Short Stories, Vol. 2",
}

local function check_valid_id(id)
  if not (id:find("^isbn%-") or id:find("^imdb%-")) then
    return nil, 'Invalid ID format, it must start with "isbn-" or "imdb-"'
  end
  return id
end

app:get("/items/", {
  name = "read_items",
  query = { id = t.string({ optional = true, check = check_valid_id }) },
}, function(req)
  local id = req.query.id or "isbn-9781529046137"
  return { id = id, name = data[id] or null }
end)

return app
