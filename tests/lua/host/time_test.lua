local perigee = require("perigee")
local time = perigee.time

test("clocks go forward", function(t)
  local before = time.monotonic()
  time.sleep(2)
  t:eq(time.monotonic() - before >= 2, true)
  t:eq(math.abs(time.now() - os.time()) < 2, true)
end)

test("an interval keeps its beat and leaves out what a turn misses", function(t)
  local start = time.monotonic()
  local beats = {}
  for beat in time.interval(5) do
    beats[#beats + 1] = beat
    t:eq(time.monotonic() - start >= beat * 5 - 0.001, true)
    if #beats == 2 then
      time.sleep(12)
    elseif #beats == 4 then
      break
    end
  end
  t:eq(beats[3] >= beats[2] + 3, true)
  t:eq(beats[4] > beats[3], true)
  t:raises("more than 0", time.interval, 0)
end)

test("dates as ISO 8601 and HTTP write them", function(t)
  t:eq(time.iso(0), "1970-01-01T00:00:00Z")
  t:eq(time.iso(1795273445.25), "2026-11-21T15:04:05.250Z")
  t:eq(time.http_date(1795273445.9), "Sat, 21 Nov 2026 15:04:05 GMT")
  t:eq(time.http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT")
  t:eq(time.iso(-0.5), "1969-12-31T23:59:59.500Z")
  t:eq(#time.iso() >= 20, true)
end)
