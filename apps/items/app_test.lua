local KEY = { ["X-Key"] = "secret" }
local LAMP = { name = "Lamp", price = 35.4, tags = { "light", "home" } }

local function create(t, client, item)
  local answer = client:post("/items", { json = item, headers = KEY })
  return t:status(answer, 201):json()
end

test("what is created can be read", function(t)
  local client = t:client()
  local answer = client:post("/items", { json = LAMP, headers = KEY })
  t:status(answer, 201)
  local lamp = answer:json()
  t:eq(lamp.name, "Lamp")
  t:eq(answer.headers.location, "/items/" .. lamp.id)
  t:eq(client:get(answer.headers.location):json(), lamp)
end)

test("writing needs a key, and strangers learn nothing of the body", function(t)
  local answer = t:client():post("/items", { json = { wrong = true } })
  t:status(answer, 401)
  t:eq(answer:json().detail, "Not authenticated")
  local wrong = { ["X-Key"] = "guessed" }
  t:status(t:client():post("/items", { json = LAMP, headers = wrong }), 401)
end)

test("what is wrong is named", function(t)
  local answer = t:client():post("/items", { json = { name = "", price = -1 }, headers = KEY })
  t:status(answer, 422)
  local places = {}
  for i, problem in ipairs(answer:json().detail) do
    places[i] = table.concat(problem.loc, ".")
  end
  t:eq(places, { "body.name", "body.price" })
end)

test("items are listed by tag, a page at a time", function(t)
  local client = t:client()
  for i = 1, 3 do
    create(t, client, { name = "Chair " .. i, price = 10, tags = { "seat" } })
  end
  local page = client:get("/items", { query = { tag = { "seat" }, skip = 1, limit = 1 } }):json()
  t:eq(#page, 1)
  t:eq(page[1].name, "Chair 2")
  t:eq(client:get("/items", { query = { tag = { "seat", "light" } } }).body, "[]")
end)

test("a patch changes what was sent and leaves the rest", function(t)
  local client = t:client()
  local path = "/items/" .. create(t, client, LAMP).id
  local changed = client:patch(path, { json = { price = 30 }, headers = KEY }):json()
  t:eq(changed.price, 30)
  t:eq(changed.name, "Lamp")
end)

test("what was deleted is gone", function(t)
  local client = t:client({ headers = KEY })
  local path = "/items/" .. create(t, client, LAMP).id
  t:status(client:delete(path), 204)
  t:status(client:get(path), 404)
  t:status(client:delete(path), 404)
end)

test("a visitor is known by a cookie", function(t)
  local client = t:client()
  t:eq(client:get("/visit"):json().visits, 1)
  t:eq(client:get("/visit"):json().visits, 2)
  t:eq(client.cookies.visits, "2")
  t:eq(t:client():get("/visit"):json().visits, 1, "another visitor")
end)

test("what is meant as a number is one", function(t)
  local lamp = { name = "Lamp", price = "35.4" }
  t:status(t:client():post("/items", { json = lamp, headers = KEY }), 422)
end)

test("a note may have a picture", function(t)
  local client = t:client()
  local plain = client:post("/notes", { form = { text = "hello" } })
  t:eq(plain.body, [[{"text":"hello","picture":null}]])

  local noted = client:post("/notes", {
    form = { text = "look" },
    files = { picture = { name = "cat.png", content = "not quite a picture", type = "image/png" } },
  })
  t:eq(noted:json().picture, { name = "cat.png", size = 19 })
end)
