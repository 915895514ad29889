--- `perigee openapi`: an app's document, and what has changed in it.

local arguments = require("perigee.cli.arguments")
local diff = require("perigee.openapi_diff")
local json = require("perigee.json")
local load_app = require("perigee.cli.load")
local terminal = require("perigee.cli.terminal")

local function read_document(path)
  local file, message = io.open(path, "r")
  local text = file and file:read("a")
  if file then
    file:close()
  end
  if not text then
    return nil, message or path .. " cannot be read"
  end
  local ok, document = pcall(json.decode, text)
  if not ok or type(document) ~= "table" or type(document.paths) ~= "table" then
    return nil, path .. " is no OpenAPI document"
  end
  return document
end

---@type perigee.cli.Command
return {
  name = "openapi",
  usage = "APPDIR [--diff OLD.json]",
  summary = "prints the OpenAPI document of an app",
  description = "With --diff it prints what breaks clients of the old document instead, and the exit "
    .. "code is 1 when anything does.",
  operands = 1,
  needs = 1,
  flags = {
    {
      name = "diff",
      argument = "OLD.json",
      help = "print only what breaks clients of this document",
    },
    arguments.SET,
  },
  run = function(operands, flags)
    local built, code = load_app(operands[1])
    if not built then
      return code
    end
    local text = built.openapi()
    if not flags.diff then
      io.write(text, "\n")
      return 0
    end
    local old, message = read_document(flags.diff)
    if not old then
      return terminal.fail("%s", message)
    end
    local breaking = diff.compare(old, json.decode(text))
    for _, line in ipairs(breaking) do
      io.write(line, "\n")
    end
    return #breaking > 0 and 1 or 0
  end,
}
