local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/legacy/", { name = "get_legacy_data" }, function()
  local data = [[<?xml version="1.0"?>
    <shampoo>
    <Header>
        Apply shampoo here.
    </Header>
    <Body>
        You'll have to use soap here.
    </Body>
    </shampoo>
    ]]
  return perigee.bytes(data, { content_type = "application/xml" })
end)

return app
