--- The order in which the dependencies of a request are resolved: one after the other, as they stand in the
--- plan. Those with `parallel = true` that follow each other, and do not need each other, run at the same time.
--- Planned once, at load.

local M = {}

-- Cuts a list of steps into rounds: { indices... } each.
local function rounds_of(steps, list)
  local rounds, round, inside = {}, nil, {}
  for _, i in ipairs(list) do
    local joins = round ~= nil and steps[i].parallel and steps[round[1]].parallel
    for _, need in ipairs(steps[i].needs) do
      joins = joins and not inside[need]
    end
    if not joins then
      round, inside = {}, {}
      rounds[#rounds + 1] = round
    end
    round[#round + 1] = i
    inside[i] = true
  end
  return rounds
end

-- What several of them raised is, where all of it would be an answer, the first of it: a request has one.
local function one_of(err, is_answer)
  if not require("perigee.task").is_failures(err) then
    return err
  end
  for _, each in ipairs(err.errors) do
    if not is_answer(each) then
      return err
    end
  end
  return err.errors[1]
end

local function spawn_all(group, round, calls, req, values, kept)
  for _, i in ipairs(round) do
    group:spawn(function()
      values[i] = calls[i](req, values, kept)
    end)
  end
end

--- A function (req, values, kept) that resolves the steps of a list.
---@param steps table[] of the plan
---@param list integer[] indices of steps, in their order
---@param calls function[] what makes the value of each
---@param is_answer fun(err: any): boolean
---@return fun(req: perigee.Request, values: table, kept: table)
function M.runner(steps, list, calls, is_answer)
  local rounds = rounds_of(steps, list)
  local group = #rounds < #list and require("perigee.task").group
  return function(req, values, kept)
    for _, round in ipairs(rounds) do
      if #round == 1 then
        values[round[1]] = calls[round[1]](req, values, kept)
      else
        local ok, err = pcall(group, spawn_all, round, calls, req, values, kept)
        if not ok then
          error(one_of(err, is_answer), 0)
        end
      end
    end
  end
end

--- Whether there is anything to run at the same time.
---@param steps table[]
---@return boolean
function M.any(steps)
  for _, step in ipairs(steps) do
    if step.parallel then
      return true
    end
  end
  return false
end

return M
