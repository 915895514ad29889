-- The heroes live in memory until there is a database module.
local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local HeroPublic = t.model("HeroPublic", {
  name = t.string,
  age = t.integer({ optional = true }),
  id = t.integer,
})

local HeroCreate = t.model("HeroCreate", {
  name = t.string,
  age = t.integer({ optional = true }),
  secret_name = t.string,
})

local HeroUpdate = HeroCreate:partial("HeroUpdate")

local heroes, next_id = {}, 1

local function find(id)
  return heroes[id] or error(perigee.http_error(404, "Hero not found"))
end

app:post("/heroes/", {
  name = "create_hero",
  body = HeroCreate,
  response = HeroPublic,
}, function(req)
  local hero = req.body
  hero.id, next_id = next_id, next_id + 1
  heroes[hero.id] = hero
  return hero
end)

app:get("/heroes/", {
  name = "read_heroes",
  query = { offset = t.integer({ default = 0 }), limit = t.integer({ default = 100, le = 100 }) },
  response = t.array(HeroPublic),
}, function(req)
  local found, seen = {}, 0
  for id = 1, next_id - 1 do
    if heroes[id] then
      seen = seen + 1
      if seen > req.query.offset and #found < req.query.limit then
        found[#found + 1] = heroes[id]
      end
    end
  end
  return found
end)

app:get("/heroes/{hero_id}", {
  name = "read_hero",
  params = { hero_id = t.integer },
  response = HeroPublic,
}, function(req)
  return find(req.params.hero_id)
end)

app:patch("/heroes/{hero_id}", {
  name = "update_hero",
  params = { hero_id = t.integer },
  body = HeroUpdate,
  response = HeroPublic,
}, function(req)
  local hero = find(req.params.hero_id)
  for name in pairs(req.body:fields_set()) do
    if req.body[name] ~= nil or name == "age" then -- the others have no null in the table either
      hero[name] = req.body[name]
    end
  end
  return hero
end)

app:delete("/heroes/{hero_id}", {
  name = "delete_hero",
  params = { hero_id = t.integer },
}, function(req)
  find(req.params.hero_id)
  heroes[req.params.hero_id] = nil
  return { ok = true }
end)

return app
