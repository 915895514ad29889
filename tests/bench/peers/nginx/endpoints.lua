-- The benchmark's endpoints in nginx's Lua module (LuaJIT), validated by hand, JSON by lua-cjson.
local cjson = require("cjson.safe")

local M = {}

local function answer(status, value)
  local body = cjson.encode(value)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Content-Length"] = #body
  ngx.print(body)
end

local function refuse(detail)
  answer(422, { detail = detail })
end

local function to_integer(text)
  return type(text) == "string" and text:find("^%-?%d+$") and tonumber(text) or nil
end

local function is_absent(value)
  return value == nil or value == cjson.null
end

local function are_strings(list)
  if type(list) ~= "table" then
    return false
  end
  local count = 0
  for _, value in pairs(list) do
    if type(value) ~= "string" then
      return false
    end
    count = count + 1
  end
  return count == #list
end

function M.root()
  answer(200, { message = "Hello World" })
end

function M.read_item()
  local id = to_integer(ngx.var.uri:sub(#"/items/" + 1))
  if not id or id < 1 then
    return refuse("item_id must be an integer of 1 or more")
  end
  local query = ngx.req.get_uri_args()
  local limit = to_integer(query.limit or "10")
  if not limit or limit > 100 then
    return refuse("limit must be an integer up to 100")
  end
  if query.q and type(query.q) ~= "string" then
    return refuse("q must be a string")
  end
  answer(200, { item_id = id, q = query.q or cjson.null, limit = limit })
end

function M.create_item()
  if ngx.req.get_method() ~= "POST" then
    return answer(405, { detail = "Method Not Allowed" })
  end
  ngx.req.read_body()
  local item = cjson.decode(ngx.req.get_body_data() or "")
  if type(item) ~= "table" then
    return refuse("the body must be a JSON object")
  end
  if type(item.name) ~= "string" or #item.name < 1 or #item.name > 50 then
    return refuse("name must have 1 to 50 characters")
  end
  if type(item.price) ~= "number" or item.price <= 0 then
    return refuse("price must be a number above 0")
  end
  if not is_absent(item.tax) and type(item.tax) ~= "number" then
    return refuse("tax must be a number")
  end
  if not is_absent(item.description) and type(item.description) ~= "string" then
    return refuse("description must be a string")
  end
  local tags = item.tags or {}
  if not are_strings(tags) then
    return refuse("tags must be a list of strings")
  end
  answer(200, {
    name = item.name,
    price = item.price,
    tax = item.tax or cjson.null,
    description = item.description or cjson.null,
    tags = #tags > 0 and tags or cjson.empty_array or tags,
  })
end

return M
