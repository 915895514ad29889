local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:post("/files/", {
  name = "create_file",
  files = { file = t.file({ optional = true }) },
}, function(req)
  local file = req.files.file
  if not file then
    return { message = "No file sent" }
  end
  return { file_size = file.size }
end)

app:post("/uploadfile/", {
  name = "create_upload_file",
  files = { file = t.file({ optional = true }) },
}, function(req)
  local file = req.files.file
  if not file then
    return { message = "No upload file sent" }
  end
  return { filename = file.name }
end)

return app
