local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local function each(files, field)
  local values = perigee.json.array({})
  for i, file in ipairs(files) do
    values[i] = file[field]
  end
  return values
end

app:post("/files/", {
  name = "create_files",
  files = { files = t.array(t.file) },
}, function(req)
  return { file_sizes = each(req.files.files, "size") }
end)

app:post("/uploadfiles/", {
  name = "create_upload_files",
  files = { files = t.array(t.file) },
}, function(req)
  return { filenames = each(req.files.files, "name") }
end)

app:get("/", { name = "main" }, function()
  return perigee.html([[
<body>
<form action="/files/" enctype="multipart/form-data" method="post">
<input name="files" type="file" multiple>
<input type="submit">
</form>
<form action="/uploadfiles/" enctype="multipart/form-data" method="post">
<input name="files" type="file" multiple>
<input type="submit">
</form>
</body>
]])
end)

return app
