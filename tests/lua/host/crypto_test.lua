local crypto = require("perigee.crypto")

test("digests are those of the standards", function(t)
  t:eq(
    crypto.hex(crypto.hash("sha256", "abc")),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
  )
  t:eq(crypto.hex(crypto.hash("md5", "")), "d41d8cd98f00b204e9800998ecf8427e")
  t:eq(
    crypto.hex(crypto.hash("sha3-256", "")),
    "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"
  )
  t:raises("unknown digest 'sha257'", crypto.hash, "sha257", "")
  t:raises("unknown digest", crypto.hash, "shake128", "")
end)

test("long data is digested like short data, in one piece or several", function(t)
  local long = ("0123456789abcdef"):rep(200000)
  local hasher = crypto.hasher("sha512")
  for at = 1, #long, 100001 do
    hasher:update(long:sub(at, at + 100000))
  end
  t:eq(hasher:digest(), crypto.hash("sha512", long))
  t:raises("has given its digest", hasher.update, hasher, "more")
end)

test("HMAC is that of RFC 4231", function(t)
  t:eq(
    crypto.hex(crypto.hmac("sha256", "Jefe", "what do ya want for nothing?")),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
  )
  t:eq(#crypto.hmac("sha256", "", ""), 32)
end)

test("comparison sees length and every byte", function(t)
  t:eq(crypto.equal("secret", "secret"), true)
  t:eq(crypto.equal("secret", "secreT"), false)
  t:eq(crypto.equal("secret", "secrets"), false)
  t:eq(crypto.equal("", ""), true)
end)

test("base64 is that of RFC 4648, and only that", function(t)
  local pairs_of = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==" }
  for plain, text in pairs(pairs_of) do
    t:eq(crypto.base64(plain), text)
    t:eq(crypto.from_base64(text), plain)
    t:eq(crypto.from_base64url((text:gsub("=", ""))), plain)
  end
  t:eq(crypto.base64url("\xfb\xff"), "-_8")
  t:eq(crypto.from_base64url("-_8"), "\xfb\xff")
  for _, wrong in ipairs({ "Zg=", "Zg", "Zh==", "Z===", "=", "Zm9v\n", "Zm 9", "-_8=" }) do
    t:eq(crypto.from_base64(wrong), nil)
  end
  for _, wrong in ipairs({ "Zg==", "Zh", "Z", "+/8" }) do
    t:eq(crypto.from_base64url(wrong), nil)
  end
end)

test("hexadecimal digits go both ways", function(t)
  t:eq(crypto.hex("\0\x7f\xff"), "007fff")
  t:eq(crypto.from_hex("007FfF"), "\0\x7f\xff")
  t:eq(crypto.from_hex("0"), nil)
  t:eq(crypto.from_hex("0g"), nil)
end)

test("random values differ and have their form", function(t)
  t:eq(#crypto.random(0), 0)
  t:eq(#crypto.random(100), 100)
  t:eq(crypto.token() ~= crypto.token(), true)
  t:eq(#crypto.token(), 43)
  t:eq(crypto.uuid():match("^%x+%-%x+%-4%x%x%x%-[89ab]%x%x%x%-%x+$") ~= nil, true)
  t:raises("0 to 1048576", crypto.random, -1)
end)

test("a password is verified by what was stored", function(t)
  local cheap = { iterations = 1, memory_kib = 64 }
  local stored = crypto.hash_password("correct horse", cheap)
  t:eq(stored:match("^%$argon2id%$v=19%$m=64,t=1,p=1%$") ~= nil, true)
  t:eq(stored ~= crypto.hash_password("correct horse", cheap), true)
  t:eq((crypto.verify_password("correct horse", stored)), true)
  t:eq((crypto.verify_password("battery staple", stored)), false)
  t:eq((crypto.verify_password("correct horse\0", stored)), false)
  local same, message = crypto.verify_password("x", "no hash")
  t:eq(same, false)
  t:eq(type(message), "string")
  t:eq(crypto.needs_rehash(stored), true)
  t:eq(crypto.needs_rehash(stored, cheap), false)
  t:eq(crypto.needs_rehash("$2b$12$abc"), true)
end)

test("what argon2id cannot do is said", function(t)
  t:raises("out of its range", crypto.hash_password, "x", { iterations = 0 })
  t:raises("each lane", crypto.hash_password, "x", { memory_kib = 8, lanes = 2 })
  t:raises("did you mean 'memory_kib'", crypto.hash_password, "x", { memory_kb = 8 })
  t:raises("4096 bytes", crypto.hash_password, ("x"):rep(5000))
end)

test(
  "a coroutine of the app that is dropped while its job runs leaks and breaks nothing",
  function(t)
    local done = false
    local co = coroutine.wrap(function()
      crypto.hash("sha256", ("x"):rep(2000000))
      done = true
    end)
    co()
    t:eq(done, true)
  end
)
