--- What a compiled chunk says of its source: the lines that can run, and the globals that are named.
--- Reads what string.dump writes (Lua 5.4, lundump.c); nothing else tells it without running the code.

local M = {}

local Reader = {}
Reader.__index = Reader

function Reader:byte()
  local value = self.text:byte(self.at)
  self.at = self.at + 1
  return value
end

function Reader:skip(count)
  self.at = self.at + count
end

-- Seven bits at a time, the highest first; the last byte has the eighth bit set.
function Reader:size()
  local value = 0
  while true do
    local byte = self:byte()
    value = value << 7 | byte & 0x7f
    if byte & 0x80 ~= 0 then
      return value
    end
  end
end

function Reader:string()
  local size = self:size()
  if size == 0 then
    return nil
  end
  local text = self.text:sub(self.at, self.at + size - 2)
  self.at = self.at + size - 1
  return text
end

local NUMBER, INTEGER, SHORT, LONG = 0x13, 0x03, 0x04, 0x14

local function read_constants(reader)
  local constants = {}
  for i = 0, reader:size() - 1 do
    local tag = reader:byte()
    if tag == NUMBER or tag == INTEGER then
      reader:skip(8)
    elseif tag == SHORT or tag == LONG then
      constants[i] = reader:string()
    end
  end
  return constants
end

local read_function

local function read_debug(reader, fn)
  local info, absolute = {}, {}
  local count = reader:size()
  for pc = 0, count - 1 do
    info[pc] = ("b"):unpack(reader.text, reader.at + pc)
  end
  reader:skip(count)
  for _ = 1, reader:size() do
    local pc = reader:size()
    absolute[pc] = reader:size()
  end
  fn.lines = {}
  local line = fn.line
  for pc = 0, count - 1 do
    line = info[pc] == -0x80 and absolute[pc] or line + info[pc]
    fn.lines[pc] = line
  end
  for _ = 1, reader:size() do -- local variables
    reader:string()
    reader:size()
    reader:size()
  end
  fn.upvalues = {}
  for i = 0, reader:size() - 1 do
    fn.upvalues[i] = reader:string()
  end
end

function read_function(reader)
  local fn = { inner = {} }
  reader:string() -- source
  fn.line = reader:size()
  fn.last_line = reader:size()
  reader:byte() -- parameters
  fn.is_vararg = reader:byte() ~= 0
  reader:byte() -- stack size
  local count = reader:size()
  fn.code = {}
  for pc = 0, count - 1 do
    fn.code[pc] = ("<I4"):unpack(reader.text, reader.at + pc * 4)
  end
  fn.count = count
  reader:skip(count * 4)
  fn.constants = read_constants(reader)
  reader:skip(reader:size() * 3) -- upvalues
  for i = 1, reader:size() do
    fn.inner[i] = read_function(reader)
  end
  read_debug(reader, fn)
  return fn
end

--- Reads a function that loadfile or load has made.
---@param chunk function
---@return table main { line, last_line, code, lines, constants, upvalues, inner }
function M.read(chunk)
  local text = string.dump(chunk)
  -- signature, version, format, data, sizes, two numbers, count of upvalues
  local reader = setmetatable({ text = text, at = 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1 + 1 }, Reader)
  return read_function(reader)
end

--- The lines that can run.
---@param main table
---@return table<integer, true>
function M.active_lines(main)
  local active = {}
  local function visit(fn)
    -- A vararg function begins with an instruction of no line, and every function ends with a return
    -- that is no part of the source: behind a `return` it never runs.
    for pc = fn.is_vararg and 1 or 0, fn.count - 2 do
      active[fn.lines[pc]] = true
    end
    for _, inner in ipairs(fn.inner) do
      visit(inner)
    end
  end
  visit(main)
  return active
end

local GETTABUP, SETTABUP = 11, 15

--- The globals that are read and written, each with its lines.
---@param main table
---@return { name: string, line: integer, writes: boolean }[]
function M.globals(main)
  local found = {}
  local function visit(fn)
    for pc = 0, fn.count - 1 do
      local instruction = fn.code[pc]
      local opcode = instruction & 0x7f
      local a, b, c = instruction >> 7 & 0xff, instruction >> 16 & 0xff, instruction >> 24 & 0xff
      local upvalue, constant
      if opcode == GETTABUP then
        upvalue, constant = b, c
      elseif opcode == SETTABUP then
        upvalue, constant = a, b
      end
      if upvalue and fn.upvalues[upvalue] == "_ENV" then
        found[#found + 1] =
          { name = fn.constants[constant], line = fn.lines[pc], writes = opcode == SETTABUP }
      end
    end
    for _, inner in ipairs(fn.inner) do
      visit(inner)
    end
  end
  visit(main)
  return found
end

return M
