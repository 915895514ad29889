local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local CommonHeaders = t.model("CommonHeaders", {
  host = t.string,
  save_data = t.boolean,
  if_modified_since = t.string({ optional = true }),
  traceparent = t.string({ optional = true }),
  x_tag = t.array(t.string, { default = {} }),
})

app:get("/items/", {
  name = "read_items",
  headers = CommonHeaders,
  convert_underscores = false,
}, function(req)
  return req.headers
end)

return app
