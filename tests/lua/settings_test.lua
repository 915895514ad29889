local settings = require("perigee.settings")

local function read(text)
  return settings.parse_env(text)
end

test("lines name values, with quotes and comments", function(t)
  t:eq(
    read([[
# a comment

PLAIN=value
SPACES =  a b  c   # not this
HASH=a#b
EMPTY=
export EXPORTED=yes
SINGLE='as it is \n $HOME # all'
DOUBLE="a\tb \"c\" \\ d" # not this
EQUALS=a=b=c
]]),
    {
      PLAIN = "value",
      SPACES = "a b  c",
      HASH = "a#b",
      EMPTY = "",
      EXPORTED = "yes",
      SINGLE = "as it is \\n $HOME # all",
      DOUBLE = 'a\tb "c" \\ d',
      EQUALS = "a=b=c",
    }
  )
  t:eq(read("A=1\r\nB=2"), { A = "1", B = "2" })
  t:eq(read("\xEF\xBB\xBFA=1"), { A = "1" })
  t:eq(read(""), {})
end)

test("a line that cannot be read is told by its number", function(t)
  for text, line in pairs({
    ["A=1\nno equals"] = 2,
    ["1A=x"] = 1,
    ['A="open'] = 1,
    ["\n\nA='open"] = 3,
    ['A="a" b'] = 1,
    ["a b=c"] = 1,
  }) do
    local values, where = read(text)
    t:eq({ values or false, where }, { false, line })
  end
end)
