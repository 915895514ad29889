local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Image = t.model("Image", {
  url = t.url({ schemes = { "http", "https" }, max_length = 2083 }),
  name = t.string,
})

app:post("/images/multiple/", {
  name = "create_multiple_images",
  body = t.array(Image, { title = "Images" }),
}, function(req)
  return req.body
end)

return app
