local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Subscription = t.model("Subscription", {
  username = t.string,
  monthly_fee = t.number,
  start_date = t.datetime,
})

--- When a new user subscribes to your service we'll send you a POST request with this
--- data to the URL that you register for the event `new-subscription` in the dashboard.
app.webhooks:post("new-subscription", { name = "new_subscription", body = Subscription })

app:get("/users/", { name = "read_users" }, function()
  return { "Rick", "Morty" }
end)

return app
