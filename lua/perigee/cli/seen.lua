--- What a server said about itself, as rows for a person. Pure.

local M = {}

local UNITS = { { 86400, "d" }, { 3600, "h" }, { 60, "min" } }

--- A time as people say it: "12 ms", "3.4 s", "5 min".
---@param ms? number
---@return string
function M.time(ms)
  if not ms then
    return ""
  elseif ms < 1000 then
    return ("%d ms"):format(ms // 1)
  elseif ms < 60000 then
    return ("%.1f s"):format(ms / 1000)
  end
  for _, unit in ipairs(UNITS) do
    if ms >= unit[1] * 1000 then
      return ("%d %s"):format(ms // (unit[1] * 1000), unit[2])
    end
  end
  return ""
end

--- Bytes as people say them: "12 MB".
---@param bytes number
---@return string
function M.bytes(bytes)
  local units = { "B", "kB", "MB", "GB", "TB" }
  local i = 1
  while bytes >= 1000 and i < #units do
    bytes, i = bytes / 1000, i + 1
  end
  return (bytes < 10 and i > 1 and "%.1f %s" or "%.0f %s"):format(bytes, units[i])
end

-- The lines of workers, by what requests call them.
local function workers_of(lines)
  local workers = {}
  for _, line in ipairs(lines) do
    if line.kind == "worker" then
      workers[line.generation .. ":" .. line.worker] = line
    end
  end
  return workers
end

--- The worker that a request or task waits for; nil when it does not.
---@param lines table[]
---@param line table
---@return table?
function M.worker_of(lines, line)
  return line.on_worker and workers_of(lines)[line.generation .. ":" .. line.on_worker]
end

-- What it does: "sleep", "computes", "worker 1: sleep".
local function doing(line)
  if line.state == "waits" then
    return line.waits or "something"
  end
  return line.state
end

local function doing_with(line, worker)
  local text, place = doing(line), line.place
  if worker then
    place = worker.place or place
    text = ("worker %d: %s"):format(
      worker.worker,
      worker.answers and worker.state and doing(worker) or "in C code"
    )
  end
  return line.cancelled and text .. " (cancelled)" or text, place
end

local function what(line)
  if line.kind == "request" then
    return ("%s %s"):format(line.method, line.target)
  elseif line.kind == "after" then
    return "behind an answer"
  end
  return line.of and ("task of %d"):format(line.of) or "task"
end

--- One row for each request and task, the oldest first, what works for a request below it.
---@param lines table[]
---@return { line: table, id: string, age: string, what: string, place: string, doing: string }[]
function M.rows(lines)
  local workers, tops, below = workers_of(lines), {}, {}
  local known = {}
  for _, line in ipairs(lines) do
    known[line.id or 0] = line.kind ~= "worker"
  end
  for _, line in ipairs(lines) do
    if line.kind == "request" or line.kind == "task" or line.kind == "after" then
      local list = tops
      if line.of and known[line.of] then
        below[line.of] = below[line.of] or {}
        list = below[line.of]
      end
      list[#list + 1] = line
    end
  end
  local rows = {}
  local function add(list, indent)
    table.sort(list, function(a, b)
      local age_a, age_b = a.age_ms or 0, b.age_ms or 0
      if age_a ~= age_b then
        return age_a > age_b
      end
      return a.id < b.id
    end)
    for _, line in ipairs(list) do
      local worker = line.on_worker and workers[line.generation .. ":" .. line.on_worker]
      local text, place = doing_with(line, worker)
      rows[#rows + 1] = {
        line = line,
        id = tostring(line.id),
        age = M.time(line.age_ms),
        what = indent .. what(line),
        place = place or line.source or "",
        doing = text,
      }
      add(below[line.id] or {}, indent .. "  ")
    end
  end
  add(tops, "")
  return rows
end

--- What is wrong with the threads, a line each.
---@param lines table[]
---@return string[]
function M.complaints(lines)
  local found = {}
  for _, line in ipairs(lines) do
    if line.kind == "loop" and not line.answers then
      found[#found + 1] = ("loop %d does not answer: something holds it in C code"):format(
        line.loop
      )
    elseif line.omitted then
      found[#found + 1] = ("loop %d runs %d more"):format(line.loop, line.omitted)
    end
  end
  return found
end

return M
