local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local ModelName = t.enum("ModelName", { "alexnet", "resnet", "lenet" })

local messages = {
  alexnet = "Deep Learning FTW!",
  lenet = "LeCNN all the images",
  resnet = "Have some residuals",
}

app:get("/models/{model_name}", {
  name = "get_model",
  params = { model_name = ModelName },
}, function(req)
  local name = req.params.model_name
  return { model_name = name, message = messages[name] }
end)

return app
