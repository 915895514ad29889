local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

local get_username = perigee.dependency({
  scope = "request",
  open = function()
    return "Rick"
  end,
  close = function()
    print("Cleanup up before response is sent")
  end,
})

app:get("/users/me", { name = "get_user_me", deps = { username = get_username } }, function(req)
  return req.deps.username
end)

return app
