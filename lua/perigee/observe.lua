--- Operations for those who operate an app: metrics for Prometheus, and whether it lives and is ready. An app asks
--- for them with its options `metrics` and `health`, an operator with flags; they are not in its document.

local host = require("perigee.host")
local response = require("perigee.response")

local M = {}

local TEXT = { content_type = "text/plain; version=0.0.4; charset=utf-8" }

local function metrics()
  return response.text(host.metrics.text(), TEXT)
end

-- That it answers at all is the answer.
local function live()
  return response.text("ok\n")
end

local function ready()
  if host.metrics.is_ready() then
    return response.text("ok\n")
  end
  return response.text("stopping\n", { status = 503, headers = { ["Retry-After"] = "1" } })
end

--- Adds them, as the last operations of the app: its own at these paths go first.
---@param app perigee.App
function M.add(app)
  local config = app.config
  if app.observed then
    return
  end
  app.observed = true
  local options = { hidden = true }
  if config.metrics then
    app:get(config.metrics, options, metrics)
    app:on_start(host.metrics.count_cycles)
  end
  if config.health then
    app:get("/healthz", options, live)
    app:get("/readyz", options, ready)
  end
end

return M
