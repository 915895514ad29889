test("a page links to two others, the last ones to none", function(t)
  local client = t:client()
  t:clock()
  local links = {}
  for link in client:get("/site/5").body:gmatch('href="(%d+)"') do
    links[#links + 1] = link
  end
  t:eq(links, { "10", "11" })
  t:eq(client:get("/mirror/63").body:find("href"), nil)
  t:status(client:get("/site/64"), 422)
end)

test("a slow page takes its time, and its mirror does not", function(t)
  local client = t:client()
  local clock = t:clock()
  t:status(client:get("/site/7"), 200)
  t:eq(clock:now(), 400)
  t:status(client:get("/mirror/7"), 200)
  t:eq(clock:now(), 410)
end)

test("only http and https are crawled", function(t)
  t:status(t:client():get("/crawl?start=file:///etc/passwd"), 422)
end)
