-- One endpoint for wrk, from the environment: BENCH_METHOD, BENCH_BODY, BENCH_DEPTH (requests sent
-- together on a connection). The request stays static, so that wrk runs no Lua while it measures.
local depth = tonumber(os.getenv("BENCH_DEPTH"))
local body = os.getenv("BENCH_BODY")

wrk.method = os.getenv("BENCH_METHOD")
if body ~= "" then
  wrk.body = body
  wrk.headers["Content-Type"] = "application/json"
end

local format_one = wrk.format
wrk.format = function(...)
  return format_one(...):rep(depth)
end

local report = [[

BENCH {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}
]]

function done(summary, latency)
  local errors = summary.errors
  io.write(
    report:format(
      summary.requests,
      summary.duration,
      latency:percentile(50),
      latency:percentile(99),
      errors.status,
      errors.connect + errors.read + errors.write + errors.timeout
    )
  )
end
