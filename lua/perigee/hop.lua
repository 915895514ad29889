--- The way of a request of which a part is threaded: which dependencies run on the loop and which on a worker,
--- in as few hops as their needs allow, and what travels with each hop. Planned once, at load.

local errors = require("perigee.errors")
local host = require("perigee.host")
local rounds = require("perigee.rounds")
local threaded = require("perigee.threaded")

local M = {}

---@class perigee.Leg the indices of steps that run one after the other on the same side
---@field there boolean on a worker
---@field final? boolean ends with the handler
---@field sends? integer[] steps whose values it needs from before
---@field brings? integer[] steps whose values somebody needs behind it

---@class perigee.Errand what goes to a worker for a leg
---@field steps integer[]
---@field values table<string, any>
---@field brings? integer[]
---@field final? boolean
---@field fields table<string, any> what was assigned to the request
---@field status? integer what was set on req.response

--- Whether all of an operation can run on a worker: nothing of it has to happen on the loop.
---@param plan perigee.Plan
---@param handler function
---@return boolean
function M.is_whole(plan, handler)
  if not threaded.is(handler) then
    return false
  end
  for _, step in ipairs(plan.steps) do
    if not step.threaded and step.dependency.scope ~= "app" then
      return false
    end
  end
  return true
end

-- Adds each number once.
local function add(list, seen, number)
  if not seen[number] then
    seen[number] = true
    list[#list + 1] = number
  end
end

-- What a leg needs of the steps before it. Those of scope "app" have a value in every VM.
local function sends_of(plan, leg)
  local sends, seen = {}, {}
  for _, i in ipairs(leg) do
    seen[i] = true
  end
  for _, i in ipairs(leg) do
    for _, need in ipairs(plan.steps[i].needs) do
      add(sends, seen, need)
    end
  end
  for _, name in ipairs(leg.final and plan.names or {}) do
    add(sends, seen, name.step)
  end
  local crossing = {}
  for _, i in ipairs(sends) do
    if plan.steps[i].dependency.scope ~= "app" then
      crossing[#crossing + 1] = i
    end
  end
  return crossing
end

-- The steps of a leg whose values are needed by anybody else.
local function brings_of(plan, leg)
  local inside, wanted, brings = {}, {}, {}
  for _, i in ipairs(leg) do
    inside[i] = true
    wanted[i] = plan.steps[i].dependency.close ~= nil
  end
  for i, step in ipairs(plan.steps) do
    for _, need in ipairs(inside[i] and {} or step.needs) do
      wanted[need] = true
    end
  end
  for _, name in ipairs(plan.names) do
    wanted[name.step] = true
  end
  for _, i in ipairs(leg) do
    if wanted[i] then
      brings[#brings + 1] = i
    end
  end
  return brings
end

--- Cuts the steps of a plan into legs: each takes all that its side can do by then, the loop first. nil when
--- nothing is threaded.
---@param plan perigee.Plan
---@param handler function
---@param alone? boolean the last leg is the handler alone: something on the loop stands right before it
---@return perigee.Leg[]?
function M.legs(plan, handler, alone)
  local legs, done, left = {}, {}, {}
  local any = threaded.is(handler)
  for i, step in ipairs(plan.steps) do
    left[i] = i
    any = any or step.threaded or step.apart
  end
  if not any then
    return nil
  end
  local there = false
  while #left > 0 do
    local leg, later = { there = there }, {}
    for _, i in ipairs(left) do
      local ready = (plan.steps[i].threaded or false) == there
      for _, need in ipairs(plan.steps[i].needs) do
        ready = ready and done[need]
      end
      if ready then
        done[i] = true
        leg[#leg + 1] = i
      else
        later[#later + 1] = i
      end
    end
    if #leg > 0 then
      legs[#legs + 1] = leg
    end
    left, there = later, not there
  end
  if threaded.is(handler) then
    if alone or #legs == 0 or not legs[#legs].there then
      legs[#legs + 1] = { there = true }
    end
    legs[#legs].final = true
  end
  for _, leg in ipairs(legs) do
    leg.sends = sends_of(plan, leg)
    leg.brings = brings_of(plan, leg)
  end
  return legs
end

--- What the values of the steps are called on their way, and in complaints about them.
---@param plan perigee.Plan
---@return string[]
function M.keys(plan)
  local keys, taken = {}, {}
  for _, name in ipairs(plan.names) do
    keys[name.step] = name.name
    taken[name.name] = true
  end
  for i in ipairs(plan.steps) do
    if not keys[i] then
      local key = "dependency_" .. i
      while taken[key] do
        key = key .. "_"
      end
      keys[i] = key
      taken[key] = true
    end
  end
  return keys
end

local function errand_of(req, leg, keys, values)
  local errand = {
    steps = table.move(leg, 1, #leg, 1, {}),
    values = {},
    brings = leg.brings,
    final = leg.final,
    fields = host.worker.assigned(req),
  }
  for _, i in ipairs(leg.sends) do
    errand.values[keys[i]] = values[i]
  end
  return errand
end

-- A function that runs a leg on a worker; what it opened is closed by the loop.
local function fetching(plan, leg, keys)
  local closes = {}
  for _, i in ipairs(leg) do
    local dependency = plan.steps[i].dependency
    closes[#closes + 1] = dependency.close
      and {
        step = i,
        close = threaded.cleanup(dependency.close),
        place = dependency.scope == "response" and "lingering" or "opened",
      }
  end
  return function(req, values, kept)
    local brought = host.worker.send(req, false, errand_of(req, leg, keys, values))
    for _, i in ipairs(leg) do
      values[i] = brought[keys[i]]
    end
    for _, it in ipairs(closes) do
      local stack = kept[it.place]
      stack[#stack + 1] = { close = it.close, value = values[it.step] }
    end
  end
end

-- The rest of the request: its answer.
local function finish(leg, keys, req, values)
  local errand = errand_of(req, leg, keys, values)
  local pending = host.response.take(req)
  if pending then
    errand.status = pending.status
    req.response = pending
  end
  return host.worker.send(req, true, errand)
end

--- A function (req, values, kept) that runs one threaded step by itself.
---@param plan perigee.Plan
---@param index integer
---@return function
function M.one(plan, index)
  local keys = M.keys(plan)
  local leg = { index, there = true, brings = { index } }
  leg.sends = sends_of(plan, leg)
  local fetch = fetching(plan, leg, keys)
  return function(req, values, kept)
    fetch(req, values, kept)
    return values[index]
  end
end

--- A function (req, values, kept) that goes all legs, with `calls` for the steps on the loop; returns the answer
--- when the handler was part of it.
---@param plan perigee.Plan
---@param legs perigee.Leg[]
---@param calls function[]
---@param around? fun(make: function): function what stands on the loop around a threaded handler
---@return fun(req: perigee.Request, values: table, kept: table): perigee.Response?
function M.way(plan, legs, calls, around)
  local keys, runs = M.keys(plan), {}
  for n, leg in ipairs(legs) do
    if not leg.there then
      runs[n] = rounds.runner(plan.steps, leg, calls, errors.is_answer)
    elseif not leg.final then
      runs[n] = fetching(plan, leg, keys)
    else
      runs[n] = function(req, values)
        return finish(leg, keys, req, values)
      end
      runs[n] = around and around(runs[n]) or runs[n]
    end
  end
  return function(req, values, kept)
    for n, leg in ipairs(legs) do
      if leg.final then
        return runs[n](req, values)
      end
      runs[n](req, values, kept)
    end
  end
end

return M
