local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local DataInput = t.model("DataInput", {
  description = t.string,
  data = t.bytes({ encoding = "base64" }),
})

local DataOutput = t.model("DataOutput", {
  description = t.string,
  data = t.bytes({ encoding = "base64" }),
})

local DataInputOutput = t.model("DataInputOutput", {
  description = t.string,
  data = t.bytes({ encoding = "base64" }),
})

app:post("/data", { name = "post_data", body = DataInput }, function(req)
  return { description = req.body.description, content = req.body.data }
end)

app:get("/data", { name = "get_data", response = DataOutput }, function()
  return { description = "A plumbus", data = "hello" }
end)

app:post("/data-in-out", {
  name = "post_data_in_out",
  body = DataInputOutput,
  response = DataInputOutput,
}, function(req)
  return req.body
end)

return app
