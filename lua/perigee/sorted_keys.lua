--- The keys of a table in their order, so that what is made of them is always the same.
---@param map? table<string, any> nil has none
---@return string[]
return function(map)
  local keys = {}
  for key in pairs(map or {}) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end
