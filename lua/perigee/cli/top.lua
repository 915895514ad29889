--- `perigee top`: the same as `perigee ps`, again and again, with rates.

local host = require("perigee.host")
local seen = require("perigee.cli.seen")
local servers = require("perigee.cli.servers")
local terminal = require("perigee.cli.terminal")
local time = require("perigee.time")

-- Rows and columns of the terminal; 24 and 80 where nobody tells.
local function screen_size()
  local stty = io.popen("stty size 2>/dev/null </dev/tty", "r")
  local text = stty and stty:read("l") or ""
  if stty then
    stty:close()
  end
  local rows, columns = text:match("^(%d+) (%d+)$")
  return tonumber(rows) or 24, tonumber(columns) or 80
end

-- What all threads have done so far.
local function totals(lines)
  local sum = { requests = 0, slow_slices = 0, lua_bytes = 0, lag_ms = 0, tasks = 0 }
  for _, line in ipairs(lines) do
    if line.kind == "loop" and line.answers then
      for key in pairs(sum) do
        sum[key] = key == "lag_ms" and math.max(sum[key], line[key]) or sum[key] + line[key]
      end
    end
  end
  return sum
end

local function rate(now, before, key, seconds)
  if not before then
    return "-"
  end
  return ("%.1f/s"):format(math.max(0, now[key] - before[key]) / seconds)
end

local function head(lines, now, before, seconds)
  local process = servers.first(lines, "process")
  local workers = process.workers
  return {
    servers.describe(process) .. ", up " .. seen.time(process.uptime_ms),
    ("requests %s  connections %d  tasks %d  loop lag %.1f ms  slow slices %s"):format(
      rate(now, before, "requests", seconds),
      process.connections,
      now.tasks,
      now.lag_ms,
      rate(now, before, "slow_slices", seconds)
    ),
    ("memory %s, of it Lua on %d loops %s%s"):format(
      seen.bytes(process.rss_bytes),
      process.loops,
      seen.bytes(now.lua_bytes),
      workers
          and ("  workers %d of %d busy, %d queued"):format(
            workers.busy,
            workers.threads,
            workers.queued
          )
        or ""
    ),
  }
end

local function cut(text, columns)
  local at = utf8.offset(text, columns + 1)
  return at and text:sub(1, at - 1) or text
end

-- The lines of one picture.
local function picture(lines, now, before, seconds)
  local texts = head(lines, now, before, seconds)
  table.move(seen.complaints(lines), 1, 1000, #texts + 1, texts)
  texts[#texts + 1] = ""
  texts[#texts + 1] = ("%8s  %8s  %-40s  %-28s  %s"):format(
    "ID",
    "AGE",
    "WHAT",
    "WHERE",
    "WAITS FOR"
  )
  for _, row in ipairs(seen.rows(lines)) do
    texts[#texts + 1] = ("%8s  %8s  %-40s  %-28s  %s"):format(
      row.id,
      row.age,
      cut(row.what, 40),
      #row.place > 28 and ".." .. row.place:sub(-26) or row.place,
      row.doing
    )
  end
  for i, text in ipairs(texts) do
    texts[i] = servers.plain(text)
  end
  return texts
end

---@type perigee.cli.Command
return {
  name = "top",
  usage = "[PID|SOCKET]",
  summary = "shows what a running server is doing, again and again",
  description = "What `perigee ps` lists, with the rate of requests, how long the loops took to answer, slices"
    .. " over 10 ms, memory and workers. Ctrl-C ends it. Where standard output is no terminal it prints once.",
  operands = 1,
  flags = {
    { name = "interval-ms", argument = "N", number = true, help = "time between two looks (1000)" },
    { name = "once", help = "prints one picture and ends" },
    servers.SERVER,
    servers.CONTROL,
    servers.JSON,
  },
  run = function(operands, flags)
    local which, wrong = servers.which(flags, operands[1])
    if wrong then
      return wrong
    end
    local path, code = servers.choose(which)
    if not path then
      return code
    end
    local interval = math.max(100, flags.interval_ms or 1000)
    local once = flags.once or flags.json or not host.app.is_terminal(1)
    local before, before_ms
    while true do
      local asked_ms = time.monotonic()
      local lines, message = servers.ask(path, "ps")
      if not lines then
        return terminal.fail("%s", message)
      end
      if flags.json then
        servers.write_json(lines)
        return 0
      end
      local now = totals(lines)
      local texts = picture(lines, now, before, before and (asked_ms - before_ms) / 1000 or 0)
      if once then
        io.write(table.concat(texts, "\n"), "\n")
        return 0
      end
      local rows, columns = screen_size()
      for i = #texts, rows, -1 do
        texts[i] = nil
      end
      for i, text in ipairs(texts) do
        texts[i] = cut(text, columns) .. "\27[K"
      end
      io.write("\27[H", table.concat(texts, "\r\n"), "\27[J")
      io.stdout:flush()
      before, before_ms = now, asked_ms
      time.sleep(interval)
    end
  end,
}
