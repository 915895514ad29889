local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local tasks = { foo = "Listen to the Bar Fighters" }

app:put("/get-or-create-task/{task_id}", {
  name = "get_or_create_task",
  params = { task_id = t.string },
  status = 200,
}, function(req)
  local id = req.params.task_id
  if not tasks[id] then
    tasks[id] = "This didn't exist before"
    req.response.status = perigee.status.CREATED
  end
  return tasks[id]
end)

return app
