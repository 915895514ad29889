--- What commands say and how: colours where a person looks, messages on standard error.

local host = require("perigee.host")

local M = {}

local CODES = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", cyan = "36" }

-- Colours are for terminals, and not where NO_COLOR is set (no-color.org).
local function has_colors(descriptor)
  local no_color = os.getenv("NO_COLOR")
  return (no_color == nil or no_color == "")
    and os.getenv("TERM") ~= "dumb"
    and host.app.is_terminal(descriptor)
end

local function painter(descriptor)
  local colors = has_colors(descriptor)
  return function(color, text)
    return colors and ("\27[%sm%s\27[0m"):format(CODES[color], text) or text
  end
end

--- A function that colours text for standard output (1) or standard error (2).
---@type fun(descriptor: integer): fun(color: string, text: string): string
M.painter = painter

--- Says what is wrong with how a command was called. Returns the exit code for that.
---@param format string
---@param ... any
---@return integer 2
function M.fail(format, ...)
  io.stderr:write("perigee: ", format:format(...), "\n")
  return 2
end

--- Pads a text to a width in characters.
---@param text string
---@param width integer
---@return string
function M.pad(text, width)
  return text .. (" "):rep(width - (utf8.len(text) or #text))
end

--- Writes rows of a table, each column as wide as its widest text.
---@param rows string[][]
---@param paint_column? fun(column: integer, text: string): string
function M.write_rows(rows, paint_column)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, text in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, utf8.len(text) or #text)
    end
  end
  for _, row in ipairs(rows) do
    local cells, last = {}, #row
    while last > 1 and row[last] == "" do
      last = last - 1
    end
    for i = 1, last do
      local text = i < last and M.pad(row[i], widths[i]) or row[i]
      cells[i] = paint_column and paint_column(i, text) or text
    end
    io.write(table.concat(cells, "  "), "\n")
  end
end

return M
