--- Bodies of the type multipart/form-data (RFC 7578), as a browser sends them. Pure.

local sorted_keys = require("perigee.sorted_keys")

local M = {}

local function quoted(text)
  return '"' .. text:gsub('["\r\n]', { ['"'] = "%22", ["\r"] = "%0D", ["\n"] = "%0A" }) .. '"'
end

-- A boundary that stands in none of the contents.
local function choose_boundary(parts)
  local number = 0
  while true do
    local boundary = ("perigee-test-%08d"):format(number)
    local taken = false
    for _, part in ipairs(parts) do
      taken = taken or part.content:find(boundary, 1, true) ~= nil
    end
    if not taken then
      return boundary
    end
    number = number + 1
  end
end

local function add_file(parts, name, file)
  if type(file) == "string" then
    file = { content = file }
  end
  if type(file) ~= "table" or type(file.content) ~= "string" then
    error(("files: '%s' must be text or { name, content, type }"):format(name), 0)
  end
  parts[#parts + 1] = {
    head = ("name=%s; filename=%s"):format(quoted(name), quoted(file.name or name)),
    type = file.type or "application/octet-stream",
    content = file.content,
  }
end

--- Encodes fields and files; those of one name may be given as a list.
---@param form table<string, any>
---@param files table<string, string|table>
---@return string body
---@return string content_type
function M.encode(form, files)
  local parts = {}
  for _, name in ipairs(sorted_keys(form)) do
    local value = form[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      parts[#parts + 1] = { head = "name=" .. quoted(name), content = tostring(one) }
    end
  end
  for _, name in ipairs(sorted_keys(files)) do
    local file = files[name]
    local several = type(file) == "table" and file[1] ~= nil
    for _, one in ipairs(several and file or { file }) do
      add_file(parts, name, one)
    end
  end
  local boundary = choose_boundary(parts)
  local pieces = {}
  for _, part in ipairs(parts) do
    local kind = part.type and "\r\nContent-Type: " .. part.type or ""
    pieces[#pieces + 1] = ("--%s\r\nContent-Disposition: form-data; %s%s\r\n\r\n%s\r\n"):format(
      boundary,
      part.head,
      kind,
      part.content
    )
  end
  pieces[#pieces + 1] = "--" .. boundary .. "--\r\n"
  return table.concat(pieces), "multipart/form-data; boundary=" .. boundary
end

return M
