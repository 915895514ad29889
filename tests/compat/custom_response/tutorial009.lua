local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

local some_file_path = "large-video-file.mp4"

app:get("/", { name = "main", produces = "application/octet-stream" }, function()
  return perigee.file(some_file_path)
end)

return app
