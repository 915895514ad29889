--- Header lists: arrays of { name, value } in the order they are sent, names in any case. Pure.

local M = {}

---@alias perigee.HeaderList { [1]: string, [2]: string }[]

--- Makes a header list of what an app wrote: `{ ["X-One"] = "1" }`, where a value may also be a list
--- of values, or `{ { "Set-Cookie", "a=1" }, { "Set-Cookie", "b=2" } }`. Always a new list.
---@param headers table<string, string|number|string[]>|perigee.HeaderList|nil
---@return perigee.HeaderList
function M.list(headers)
  local list = {}
  for i, pair in ipairs(headers or list) do
    list[i] = { pair[1], tostring(pair[2]) }
  end
  local names = {}
  for name in pairs(headers or names) do
    if type(name) == "string" then
      names[#names + 1] = name
    elseif math.type(name) ~= "integer" or not list[name] then
      error("headers: names must be strings, not " .. tostring(name), 0)
    end
  end
  table.sort(names) -- a table has no order of its own; answers shall not vary
  for _, name in ipairs(names) do
    local value = headers[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      list[#list + 1] = { name, tostring(one) }
    end
  end
  return list
end

--- The first value of a name, or nil.
---@param list perigee.HeaderList
---@param name string
---@return string?
function M.get(list, name)
  name = name:lower()
  for _, pair in ipairs(list) do
    if pair[1]:lower() == name then
      return pair[2]
    end
  end
end

--- Removes all values of a name.
---@param list perigee.HeaderList
---@param name string
function M.remove(list, name)
  name = name:lower()
  for i = #list, 1, -1 do
    if list[i][1]:lower() == name then
      table.remove(list, i)
    end
  end
end

--- The first value of a header as it was sent, whatever the operation declares under `headers`.
---@param req perigee.Request
---@param name string
---@return string?
function M.sent(req, name)
  return req:all("headers", name)[1]
end

--- Replaces all values of a name by one.
---@param list perigee.HeaderList
---@param name string
---@param value string|number
function M.set(list, name, value)
  M.remove(list, name)
  list[#list + 1] = { name, tostring(value) }
end

--- Adds one more value.
---@param list perigee.HeaderList
---@param name string
---@param value string|number
function M.add(list, name, value)
  list[#list + 1] = { name, tostring(value) }
end

return M
