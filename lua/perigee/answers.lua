--- Errors as answers: FastAPI's `{"detail": ...}` or RFC 9457's problem details, and how much a client
--- learns about input that was refused.

local debug_page = require("perigee.debug_page")
local errors = require("perigee.errors")
local ordered = require("perigee.ordered")
local response = require("perigee.response")
local status_names = require("perigee.status")

local M = {}

M.styles = { detail = true, problem = true }
M.details = { full = true, codes = true, none = true }

local Problem = ordered.shape({ "type", "title", "status", "detail", "errors" })
local PROBLEM_TYPE = "application/problem+json"

-- What is left of the list of validation errors: all of it, what went wrong where, or nothing.
local function reduce(err, detail)
  if detail == "codes" then
    local list = {}
    for i, one in ipairs(err.detail) do
      list[i] = { type = one.type, loc = one.loc }
    end
    return list
  end
  return detail == "full" and err.detail or nil
end

local function detail_answer(err, validation_detail)
  if errors.is_validation_error(err) then
    if validation_detail == "full" then
      return response.bytes(err.body, { status = 422, content_type = "application/json" })
    end
    local reduced = reduce(err, validation_detail) or status_names.phrase(422)
    return response.json({ detail = reduced }, { status = 422 })
  end
  local detail = err.detail == nil and status_names.phrase(err.status) or err.detail
  return response.json({ detail = detail }, { status = err.status, headers = err.headers })
end

local function problem_answer(err, validation_detail)
  local problem =
    { type = "about:blank", title = status_names.phrase(err.status), status = err.status }
  if errors.is_validation_error(err) then
    problem.detail = "The request is not as declared."
    problem.errors = reduce(err, validation_detail)
  elseif type(err.detail) == "table" then
    for key, value in pairs(err.detail) do
      problem[key] = value -- extension members, or a type and title of its own
    end
  elseif err.detail ~= nil and err.detail ~= problem.title then
    problem.detail = err.detail
  end
  return response.bytes(ordered.encode(Problem(problem)), {
    status = err.status,
    headers = err.headers,
    content_type = PROBLEM_TYPE,
  })
end

local function detail_failure()
  return response.text("Internal Server Error", { status = 500 })
end

local function problem_failure()
  return problem_answer({ status = 500 })
end

--- A function that answers HTTP errors and refused input, and any other error (nil) with a 500.
---@param config table what the app was made with
---@return fun(err: any, req?: perigee.Request, failure?: perigee.Failure): perigee.Response
function M.answerer(config)
  local is_problem = config.errors == "problem"
  local answer = is_problem and problem_answer or detail_answer
  local failure = is_problem and problem_failure or detail_failure
  local validation_detail = config.validation_detail or "full"
  return function(err, req, failed)
    if err == nil then
      return config.debug and failed and debug_page.answer(req, failed) or failure()
    end
    return answer(err, validation_detail)
  end
end

--- Whether an app's errors are other than those the host answers by itself.
---@param config table
---@return boolean
function M.differ(config)
  return config.errors == "problem" or (config.validation_detail or "full") ~= "full"
end

return M
