-- A crawler: many requests at once, few at a time, each with a race and a limit, all with a deadline, and
-- nothing left behind when nobody waits for the result any more. README.md tells it.
local perigee = require("perigee")
local http, task = perigee.http, perigee.task
local t = perigee.types
local url = require("perigee.url")

local app = perigee.app({ title = "Crawler" })

local HEAD_START_MS = 50 -- what the site gets before its mirror is asked, too

-- What goes on right now. A count goes down however its block is left: done, failed or cancelled.
local now = { crawls = 0, fetches = 0 }

local function counted(what)
  now[what] = now[what] + 1
  return setmetatable({}, {
    __close = function()
      now[what] = now[what] - 1
    end,
  })
end

local function get(address)
  local fetch <close> = counted("fetches") -- luacheck: ignore
  local res, err = http.get(address, { max_response_bytes = 1024 * 1024 })
  if not res then
    return nil, err.code
  elseif not res.ok then
    return nil, "status " .. res.status
  end
  return { url = address, html = res.body }
end

--- Asks the site, and after a moment its mirror, too: whoever answers first is taken, the other one's
--- request is cut off. A site that fails at once leaves it to the mirror.
local function get_from_both(address, mirror)
  local page, problem = task.race({
    function()
      return get(address)
    end,
    function()
      perigee.sleep(HEAD_START_MS)
      return get(mirror)
    end,
  })
  if page then
    return page
  end
  page = get(mirror)
  return page, problem
end

local function fetch_page(address, options)
  local page, problem
  if options.mirrored then
    local mirror = address:gsub("/site/", "/mirror/")
    page, problem = task.move_on(options.page_ms, get_from_both, address, mirror)
  else
    page, problem = task.move_on(options.page_ms, get, address)
  end
  if page then
    return page
  end
  return nil, type(problem) == "table" and problem.code or problem
end

-- The links of a page that stay on its site.
local function links_of(page)
  local base, links = url.parse(page.url), {}
  for reference in page.html:gmatch('href="([^"]*)"') do
    local link = url.resolve(base, reference)
    if link and url.origin(link) == url.origin(base) then
      links[#links + 1] = url.format(link)
    end
  end
  return links
end

--- Visits `start` and what can be reached from it, and notes in `found` what it finds, as it finds it.
local function crawl(start, options, found)
  local limiter = task.limiter(options.at_once)
  local seen, count = { [start] = true }, 1

  task.group(function(group)
    local function visit(address)
      local page, problem = limiter:with(fetch_page, address, options)
      if not page then
        table.insert(found.failed, { url = address, problem = problem })
        return
      end
      table.insert(found.pages, page.url)
      for _, link in ipairs(links_of(page)) do
        if not seen[link] and count < options.max_pages then
          seen[link], count = true, count + 1
          group:spawn(visit, link)
        end
      end
    end
    visit(start)
  end)
  return true -- it was not cut off
end

app:get("/crawl", {
  query = {
    start = t.string({ pattern = "^https?://" }),
    at_once = t.integer({ default = 8, ge = 1, le = 64 }),
    max_pages = t.integer({ default = 200, ge = 1, le = 1000 }),
    page_ms = t.integer({ default = 500, ge = 1, le = 20000 }), -- for one, wherever it comes from
    deadline_ms = t.integer({ default = 5000, ge = 1, le = 20000 }),
    mirrored = t.boolean({ default = false }),
  },
}, function(req)
  local running <close> = counted("crawls") -- luacheck: ignore
  local found = { pages = perigee.json.array({}), failed = perigee.json.array({}) }
  local began = perigee.time.monotonic()
  local complete = task.move_on(req.query.deadline_ms, crawl, req.query.start, req.query, found)
  return {
    complete = complete or false,
    ms = math.floor(perigee.time.monotonic() - began),
    pages = found.pages,
    failed = found.failed,
  }
end)

app:get("/now", function()
  return now
end)

-- --- a site to crawl -------------------------------------------------------------------------------

local PAGES = 63

local function page_html(number)
  local links = {}
  for _, child in ipairs({ 2 * number, 2 * number + 1 }) do
    if child <= PAGES then
      links[#links + 1] = ('<a href="%d">page %d</a>'):format(child, child)
    end
  end
  return ("<h1>Page %d</h1>%s"):format(number, table.concat(links, " "))
end

local function serve(path, delay_of)
  app:get(path .. "/{number}", {
    params = { number = t.integer({ ge = 1, le = PAGES }) },
  }, function(req)
    perigee.sleep(delay_of(req.params.number))
    return perigee.html(page_html(req.params.number))
  end)
end

-- Every seventh page of the site is slow, and page 13 is never there in time; the mirror is always quick.
serve("/site", function(number)
  return number == 13 and 2000 or number % 7 == 0 and 400 or 10
end)
serve("/mirror", function()
  return 10
end)

return app
