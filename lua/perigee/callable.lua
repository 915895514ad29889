--- What can be called: functions, and objects with a metamethod __call. Types have one, too (it gives them
--- more options), and are no functions. Pure.

local node_of = require("perigee.node")

local M = {}

local function call_of(value)
  local metatable = getmetatable(value)
  return type(metatable) == "table" and not node_of.is_type(value) and metatable.__call or nil
end

--- A function as it is, anything else that can be called as a function; nil for the rest.
---@param value any
---@return function?
function M.as_function(value)
  if type(value) == "function" then
    return value
  elseif call_of(value) then
    return function(...)
      return value(...)
    end
  end
end

--- The function that runs when a value is called: debug.getinfo() knows its place.
---@param value any what can be called
---@return function
function M.definition(value)
  while type(value) ~= "function" do
    value = call_of(value)
  end
  return value
end

return M
