local compress = require("perigee.compress")
local crypto = require("perigee.crypto")

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
