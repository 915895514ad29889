-- A handler answers the name of its route and what it was given.
local perigee = require("perigee")

local app = perigee.app()

local function names(name)
  return function(req)
    return { route = name, id = req.params.id, rest = req.params.rest }
  end
end

app:get("/", names("root"))
app:get("/items/{id}", names("item"))
app:get("/items/me", names("me"))
app:get("/items/{rest:path}", names("rest"))
app:get("/items/{id}/parts", names("parts"))
app:get("/items/me/{id}", names("mine"))
app:get("/deep/{a}/b/{c}/{id}", names("deep"))
app:get("/deep/{a}/b/x/{rest:path}", names("deep-rest"))
app:get("/files/{rest:path}/edit", names("edit"))
app:get("/umlaut/ä", names("umlaut"))

app:get("/both", names("get"))
app:post("/both", names("post"))
app:delete("/both", names("delete"))
app:route({ "PUT", "PATCH" }, "/both", names("put or patch"))

app:post("/post-only", names("post"))
app:trace("/trace-only", names("trace"))

app:get("/explicit", names("get"))
app:head("/explicit", function()
  return perigee.text("", { headers = { ["X-Head"] = "mine" } })
end)
app:options("/explicit", function()
  return perigee.text("mine")
end)

app:get("/no-slash", names("no-slash"))
app:get("/slash/", names("slash"))
app:post("/posts/", names("posts"))
app:get("/user/{id}", names("user"))
app:get("/{rest:path}/x", names("x"))

return app
