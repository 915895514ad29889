--- The models of an app, as they are declared while it loads.

local errors = require("perigee.errors")
local model = require("perigee.model")
local node_of = require("perigee.node")

-- "file:line" in full: Lua shortens long paths in its messages.
local function full_place(source, line)
  return source:sub(2) .. ":" .. line
end

--- Runs `fn` and watches which models are declared meanwhile.
---@param fn fun(): any ...
---@return { node: perigee.Type, where: string }[] made in their order, each with its place
---@return table<perigee.Type, true> bases those that others were derived from
---@return any ... what `fn` returned
return function(fn)
  local made, bases = {}, {}
  local new = model.new
  function model.new(...)
    local node = new(...)
    local _, source, line = errors.caller()
    if node.kind == "model" and source then
      made[#made + 1] = { node = node, where = full_place(source, line) }
    end
    return node
  end
  local kept = {}
  for _, name in ipairs({ "pick", "omit", "extend", "partial" }) do
    local derive = node_of.Type[name]
    kept[name] = derive
    node_of.Type[name] = function(self, ...)
      bases[self] = true
      return derive(self, ...)
    end
  end
  local results = table.pack(fn())
  model.new = new
  for name, derive in pairs(kept) do
    node_of.Type[name] = derive
  end
  return made, bases, table.unpack(results, 1, results.n)
end
