local compress = require("perigee.compress")
local crypto = require("perigee.crypto")
local perigee = require("perigee")
local task = require("perigee.task")

local CODINGS = { "gzip", "deflate", "br" }

test("what was encoded decodes to itself, short and long", function(t)
  for _, coding in ipairs(CODINGS) do
    for _, data in ipairs({ "", "a", ("burger "):rep(100000), crypto.random(200000) }) do
      t:eq(compress.decode(coding, compress.encode(coding, data)), data)
    end
    t:eq(#compress.encode(coding, ("burger "):rep(100000), { level = 1 }) < 10000, true)
  end
end)

test("a bomb is an error", function(t)
  for _, coding in ipairs(CODINGS) do
    local bomb = compress.encode(coding, ("\0"):rep(10000000))
    local data, err = compress.decode(coding, bomb, { max_bytes = 9999999 })
    t:eq(data, nil)
    t:eq(err.code, "EFBIG")
    t:eq(#compress.decode(coding, bomb, { max_bytes = 10000000 }), 10000000)
  end
end)

-- How often another task has its turn while `fn` runs.
local function turns_during(fn)
  local turns, done = 0, false
  task.group(function(group)
    group:spawn(function()
      while not done do
        turns = turns + 1
        perigee.sleep(0)
      end
    end)
    fn()
    done = true
  end)
  return turns
end

test("a short text that unpacks to a long one is unpacked on another thread", function(t)
  for _, coding in ipairs(CODINGS) do
    local short = compress.encode(coding, ("\0"):rep(50000))
    local bomb = compress.encode(coding, ("\0"):rep(10000000))
    t:eq(#bomb < 65536, true)
    t:eq(turns_during(function()
      compress.decode(coding, short)
    end) <= 2, true)
    t:eq(turns_during(function()
      t:eq(#compress.decode(coding, bomb), 10000000)
    end) > 2, true)
  end
end)

test("what nobody waits for any more stops", function(t)
  local short, pieces = crypto.random(1 << 19), {}
  for i = 1, 32 do
    pieces[i] = crypto.random(1 << 20)
  end
  local long = table.concat(pieces)
  for coding, level in pairs({ gzip = 9, deflate = 9, br = 9 }) do
    local began = os.clock() -- of all threads, and of nobody else
    compress.encode(coding, short, { level = level })
    local spent = os.clock() - began
    began = os.clock()
    local result, err = task.move_on(1, compress.encode, coding, long, { level = level })
    t:eq(result, nil)
    t:eq(err.code, "ETIMEDOUT")
    t:eq(os.clock() - began < 32 * spent, true) -- all of it takes 64 times as much
  end
end)

test("what is broken, cut off or followed by more is an error", function(t)
  for _, coding in ipairs(CODINGS) do
    local good = compress.encode(coding, "two burgers, please")
    for _, bad in ipairs({ "", "burgers", good:sub(1, -2), good .. "x" }) do
      local data, err = compress.decode(coding, bad)
      t:eq(data, nil)
      t:eq(err.code, "EINVAL")
    end
  end
end)

test("gzip files of several members are one", function(t)
  local both = compress.encode("gzip", "two ") .. compress.encode("gzip", "burgers")
  t:eq(compress.decode("gzip", both), "two burgers")
end)

test("unknown codings, levels and options are the caller's mistake", function(t)
  t:raises("invalid option 'zip'", compress.encode, "zip", "")
  t:raises("0 to 9", compress.encode, "gzip", "", { level = 11 })
  t:raises("did you mean 'max_bytes'", compress.decode, "gzip", "", { max_byte = 1 })
end)
