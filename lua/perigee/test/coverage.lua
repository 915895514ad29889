--- Line coverage: which lines of the app ran, of those that can. Counted by the host's line hook in every
--- coroutine; reported as text and as lcov's tracefile.

local chunk = require("perigee.test.chunk")
local host = require("perigee.host")

local M = {}

---@class perigee.test.Coverage
local Coverage = {}
Coverage.__index = Coverage

--- Starts counting.
---@return perigee.test.Coverage
function M.start()
  return setmetatable({ counts = host.test.count_lines() }, Coverage)
end

-- What is known of one file; nil when it does not compile.
local function read_file(path, hits)
  local main = loadfile(path, "t")
  if not main then
    return nil
  end
  local file = { path = path, lines = {}, hits = {}, missed = {}, hit = 0 }
  for line in pairs(chunk.active_lines(chunk.read(main))) do
    file.lines[#file.lines + 1] = line
  end
  table.sort(file.lines)
  for _, line in ipairs(file.lines) do
    file.hits[line] = hits[line] or 0
    if hits[line] then
      file.hit = file.hit + 1
    else
      file.missed[#file.missed + 1] = line
    end
  end
  return file
end

--- The counts of these files, in their order. A file that never ran counts, too.
---@param paths string[]
---@return table[]
function Coverage:files(paths)
  local files = {}
  for _, path in ipairs(paths) do
    files[#files + 1] =
      read_file(path, self.counts["@" .. path] or self.counts["@./" .. path] or {})
  end
  return files
end

-- "3-5, 9": neighbours among the lines that can run stand together.
local function ranges(file)
  local parts = {}
  local missed = {}
  for _, line in ipairs(file.missed) do
    missed[line] = true
  end
  local first, last
  local function flush()
    if first then
      parts[#parts + 1] = first == last and tostring(first) or first .. "-" .. last
    end
    first = nil
  end
  for _, line in ipairs(file.lines) do
    if missed[line] then
      first, last = first or line, line
    else
      flush()
    end
  end
  flush()
  return table.concat(parts, ", ")
end

--- A table for people.
---@param files table[]
---@return string
function M.text(files)
  local width, hit, all = 5, 0, 0
  for _, file in ipairs(files) do
    width = math.max(width, #file.path)
    hit, all = hit + file.hit, all + #file.lines
  end
  local lines = {}
  local function row(name, some, total, rest)
    local percent = total == 0 and 100 or some * 100 / total
    lines[#lines + 1] = ("%-" .. width .. "s  %5.1f%%  %d of %d%s"):format(
      name,
      percent,
      some,
      total,
      rest ~= "" and "  not: " .. rest or ""
    )
  end
  for _, file in ipairs(files) do
    row(file.path, file.hit, #file.lines, ranges(file))
  end
  row("total", hit, all, "")
  return table.concat(lines, "\n") .. "\n"
end

--- lcov's tracefile, which editors and services read.
---@param files table[]
---@return string
function M.lcov(files)
  local lines = {}
  for _, file in ipairs(files) do
    lines[#lines + 1] = "SF:" .. file.path
    for _, line in ipairs(file.lines) do
      lines[#lines + 1] = ("DA:%d,%d"):format(line, file.hits[line])
    end
    lines[#lines + 1] = ("LF:%d\nLH:%d\nend_of_record"):format(#file.lines, file.hit)
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
