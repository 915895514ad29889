-- What scripts/release learns from: wrk sends tests/bench/apps/bench requests as most servers get them,
-- sound ones and now and then one that is refused.

local JSON = { ["Content-Type"] = "application/json" }

local requests
local sent = 0

function init()
  local function get(path, headers)
    return wrk.format("GET", path, headers)
  end
  local function post(body)
    return wrk.format("POST", "/items", JSON, body)
  end
  local long = '{"name":"Portal gun","price":42.5,"tax":3.2,"description":"Makes \\"holes\\" in walls",'
    .. '"tags":["rock","metal","bar"]}'
  requests = {
    get("/"),
    get("/items/7"),
    post('{"name":"Plumbus","price":10,"tags":["rock"]}'),
    get("/"),
    get("/items/42?q=hello&limit=5"),
    post(long),
    get("/", { ["X-Request-ID"] = "from-a-proxy", ["User-Agent"] = "Mozilla/5.0", Accept = "*/*" }),
    get("/items/123456?q=two%20words&limit=100"),
    post(long),
    get("/items/1?limit=10"),
  }
  local refused = {
    get("/items/nan?limit=1000"),
    post('{"name":"","price":0}'),
    get("/nowhere"),
    wrk.format("DELETE", "/items"),
  }
  local all = {}
  for round = 1, #refused do
    for _ = 1, 3 do
      for i = 1, #requests do
        all[#all + 1] = requests[i]
      end
    end
    all[#all + 1] = refused[round]
  end
  requests = all
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end
