--- `perigee new`: a small app with a test, to start from.

local fs = require("perigee.fs")
local terminal = require("perigee.cli.terminal")

local APP = [==[
-- {{name}}: see README.md.
local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "{{title}}", version = "0.1.0" })

local Note = t.model("Note", {
  text = t.string({ min_length = 1, max_length = 500, examples = { "Buy milk" } }),
  done = t.boolean({ default = false }),
})

local StoredNote = Note:extend("StoredNote", { id = t.integer })

-- Notes in memory: each loop thread has its own. Put them into a database before there are several.
local notes = {}

--- Tells that the service is there.
app:get("/", function()
  return { message = "Hello from {{title}}" }
end)

--- Lists the notes, the newest first.
app:get("/notes", {
  query = { limit = t.integer({ default = 10, ge = 1, le = 100 }) },
  response = t.array(StoredNote),
}, function(req)
  local page = {}
  for i = #notes, math.max(1, #notes - req.query.limit + 1), -1 do
    page[#page + 1] = notes[i]
  end
  return page
end)

app:post("/notes", { body = Note, response = StoredNote, status = 201 }, function(req)
  local note = req.body
  note.id = #notes + 1
  notes[note.id] = note
  return note
end)

app:get("/notes/{id}", {
  params = { id = t.integer({ ge = 1 }) },
  response = StoredNote,
  responses = { [404] = { description = "There is no such note" } },
}, function(req)
  return notes[req.params.id] or error(perigee.http_error(404, "There is no such note"))
end)

return app
]==]

local APP_TEST = [==[
-- perigee test
test("a note that was written can be read", function(t)
  local client = t:client()
  local note = t:status(client:post("/notes", { json = { text = "Buy milk" } }), 201):json()
  t:eq(note.text, "Buy milk")
  t:eq(note.done, false)
  t:eq(client:get("/notes/" .. note.id):json(), note)
  t:eq(client:get("/notes", { query = { limit = 1 } }):json(), { note })
end)

test("an empty note is refused", function(t)
  local answer = t:status(t:client():post("/notes", { json = { text = "" } }), 422)
  t:eq(answer:json().detail[1].loc, { "body", "text" })
end)

test("there is no note 999", function(t)
  t:status(t:client():get("/notes/999"), 404)
end)
]==]

local MINIMAL = [==[
local perigee = require("perigee")

local app = perigee.app({ title = "{{title}}" })

app:get("/", function()
  return { message = "Hello World" }
end)

return app
]==]

local MINIMAL_TEST = [==[
test("everybody is greeted", function(t)
  t:eq(t:client():get("/"):json(), { message = "Hello World" })
end)
]==]

local README = [==[
# {{title}}

```
perigee dev {{name}}      # serves it on http://127.0.0.1:8000, with its docs at /docs; loads it again on save
perigee test {{name}}     # runs its tests
perigee check {{name}}    # looks for what is declared and never used, or used and never declared
```
]==]

local TEMPLATES = {
  api = { ["app.lua"] = APP, ["app_test.lua"] = APP_TEST, ["README.md"] = README },
  minimal = { ["app.lua"] = MINIMAL, ["app_test.lua"] = MINIMAL_TEST, ["README.md"] = README },
}
local ORDER = { "app.lua", "app_test.lua", "README.md" }

-- "my-notes" is called "My notes".
local function title_of(name)
  local words = name:gsub("[-_]+", " ")
  return words:sub(1, 1):upper() .. words:sub(2)
end

-- Whether there is nothing in the way.
local function is_free(folder)
  local names = fs.list(folder)
  return names == nil or #names == 0
end

---@type perigee.cli.Command
return {
  name = "new",
  usage = "NAME [--template api|minimal]",
  summary = "writes a small app with a test",
  description = "NAME is the folder to make. The template api has models, a test for each of its "
    .. "operations and documentation; minimal is one route.",
  operands = 1,
  needs = 1,
  flags = {
    {
      name = "template",
      argument = "api|minimal",
      values = { "api", "minimal" },
      help = "what to start from (api)",
    },
  },
  run = function(operands, flags)
    local folder = operands[1]:gsub("(.)/+$", "%1")
    local name = folder:match("([^/]+)$")
    if not name or not name:find("^[%w][%w._-]*$") then
      return terminal.fail("'%s' is no name for an app: letters, digits, '-', '_' and '.'", folder)
    elseif not is_free(folder) then
      return terminal.fail("there is something in '%s' already", folder)
    end
    local ok, err = fs.mkdir(folder, { parents = true })
    local values = { name = name, title = title_of(name) }
    local template = TEMPLATES[flags.template or "api"]
    for _, file in ipairs(ORDER) do
      local text = template[file]:gsub("{{(%w+)}}", values)
      if ok then
        ok, err = fs.write(folder .. "/" .. file, text)
      end
      if not ok then
        return terminal.fail("%s", tostring(err))
      end
      io.write("wrote ", folder, "/", file, "\n")
    end
    io.write("\nperigee dev ", folder, "\n")
    return 0
  end,
}
