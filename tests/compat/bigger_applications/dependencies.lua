local perigee = require("perigee")
local t = perigee.types

local M = {}

M.get_token_header = perigee.dependency({ headers = { x_token = t.string } }, function(req)
  if req.headers.x_token ~= "fake-super-secret-token" then
    error(perigee.http_error(400, "X-Token header invalid"))
  end
end)

M.get_query_token = perigee.dependency({ query = { token = t.string } }, function(req)
  if req.query.token ~= "jessica" then
    error(perigee.http_error(400, "No Jessica token provided"))
  end
end)

return M
