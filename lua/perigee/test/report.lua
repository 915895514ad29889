--- How results are told: as text for people, as TAP 14 and as JUnit's XML for programs. Each maker takes a
--- function that writes, and returns { result, finish }.

local M = {}

local function indent(text, by)
  return by .. text:gsub("\n", "\n" .. by)
end

local function counts()
  return { passed = 0, failed = 0, skipped = 0 }
end

--- Text: failures in full, and one line for each test.
---@param write fun(...: string)
---@param paint fun(color: string, text: string): string
---@return table
function M.text(write, paint)
  local total, current = counts(), nil
  local marks = {
    passed = paint("green", "ok  "),
    failed = paint("red", "FAIL"),
    skipped = paint("yellow", "skip"),
  }
  return {
    result = function(result)
      total[result.outcome] = total[result.outcome] + 1
      if result.file ~= current then
        current = result.file
        write(paint("bold", current), "\n")
      end
      local slow = result.seconds > 0.5 and (" (%.1f s)"):format(result.seconds) or ""
      write("  ", marks[result.outcome], " ", result.name, slow, "\n")
      if result.where then
        write("       ", paint("dim", result.where), "\n")
      end
      if result.message then
        write(indent(result.message, "       "), "\n")
      end
      if result.outcome == "failed" then
        for _, note in ipairs(result.notes or {}) do
          write(indent(note, "       | "), "\n")
        end
      end
    end,
    finish = function(seconds)
      local skipped = total.skipped > 0 and (", %d skipped"):format(total.skipped) or ""
      local line = ("%d passed, %d failed%s"):format(total.passed, total.failed, skipped)
      write(paint(total.failed > 0 and "red" or "green", line), (" in %.2f s\n"):format(seconds))
    end,
  }
end

--- TAP version 14.
---@param write fun(...: string)
---@return table
function M.tap(write)
  local number = 0
  write("TAP version 14\n")
  return {
    result = function(result)
      number = number + 1
      local name = (result.file .. ": " .. result.name):gsub("[\\#]", "\\%0"):gsub("\n", " ")
      local ok = result.outcome == "failed" and "not ok" or "ok"
      local skip = result.outcome == "skipped" and " # SKIP " .. result.message:gsub("\n", " ")
        or ""
      write(("%s %d - %s%s\n"):format(ok, number, name, skip))
      if result.outcome ~= "failed" then
        return
      end
      write("  ---\n  message: |\n", indent(result.message, "    "), "\n")
      if result.where then
        write("  at: ", result.where, "\n")
      end
      if #(result.notes or {}) > 0 then
        write("  log: |\n", indent(table.concat(result.notes, "\n"), "    "), "\n")
      end
      write("  ...\n")
    end,
    finish = function()
      write(("1..%d\n"):format(number))
    end,
  }
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

-- Text as XML 1.0 has it: what it cannot hold becomes a question mark.
local function xml(text)
  local valid = utf8.len(text) and text or text:gsub("[\x80-\xff]", "?")
  return (valid:gsub('[&<>"]', ENTITIES):gsub("[\0-\8\11\12\14-\31]", "?"))
end

--- JUnit's XML: one suite for each file.
---@param write fun(...: string)
---@return table
function M.junit(write)
  local suites, by_file = {}, {}
  return {
    result = function(result)
      local suite = by_file[result.file]
      if not suite then
        suite = { name = result.file, total = counts(), seconds = 0 }
        by_file[result.file] = suite
        suites[#suites + 1] = suite
      end
      suite.total[result.outcome] = suite.total[result.outcome] + 1
      suite.seconds = suite.seconds + result.seconds
      suite[#suite + 1] = result
    end,
    finish = function()
      write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n')
      for _, suite in ipairs(suites) do
        local line = '  <testsuite name="%s" tests="%d" failures="%d" skipped="%d" time="%.3f">\n'
        write(
          line:format(
            xml(suite.name),
            #suite,
            suite.total.failed,
            suite.total.skipped,
            suite.seconds
          )
        )
        for _, result in ipairs(suite) do
          local head = '    <testcase classname="%s" name="%s" time="%.3f"'
          write(head:format(xml(result.file), xml(result.name), result.seconds))
          if result.outcome == "passed" then
            write("/>\n")
          elseif result.outcome == "skipped" then
            write('>\n      <skipped message="', xml(result.message), '"/>\n    </testcase>\n')
          else
            local first = result.message:match("^[^\n]*")
            local rest = { result.where, result.message, table.unpack(result.notes or {}) }
            if not result.where then
              rest = { result.message, table.unpack(result.notes or {}) }
            end
            write('>\n      <failure message="', xml(first), '">')
            write(xml(table.concat(rest, "\n")), "</failure>\n    </testcase>\n")
          end
        end
        write("  </testsuite>\n")
      end
      write("</testsuites>\n")
    end,
  }
end

return M
