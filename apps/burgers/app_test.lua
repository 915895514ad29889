local function order(client)
  return client:send("POST", "/orders")
end

test("a burger takes its time", function(t)
  local client = t:client()
  local clock = t:clock()
  local answer = t:status(order(client):wait(), 201)
  t:eq(answer:json().ready, true)
  t:eq(clock:now(), 200)
end)

test("a hundred customers wait no longer than one", function(t)
  local client = t:client()
  local clock = t:clock()
  local before = client:get("/counter"):json().orders
  local orders = {}
  for i = 1, 100 do
    orders[i] = order(client)
  end
  for _, waiting in ipairs(orders) do
    t:status(waiting:wait(), 201)
  end
  t:eq(clock:now(), 200)
  t:eq(client:get("/counter"):json().orders, before + 100)
end)
