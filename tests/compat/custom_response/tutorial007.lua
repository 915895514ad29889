local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/", { name = "main" }, function()
  return perigee.stream(function(out)
    for _ = 1, 10 do
      out:write("some fake video bytes")
    end
  end)
end)

return app
