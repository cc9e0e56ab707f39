-- One client of load.py: wrk runs this in each of its threads, and each thread has one connection.
-- wrk's own figures mix answers and refusals; here every answer is kept by its status. A client that is refused
-- comes again when the service told it to (Retry-After).
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } moment;
  int clock_gettime(int clock, moment *now);
]]
local now = ffi.new("moment")
local function milliseconds()
  ffi.C.clock_gettime(1, now) -- CLOCK_MONOTONIC
  return tonumber(now.seconds) * 1000 + tonumber(now.nanoseconds) / 1e6
end

local clients = {}
function setup(thread)
  thread:set("number", #clients)
  table.insert(clients, thread)
end

local bodies, at, started, wait = {}, 0, 0, 0
function init(arguments)
  for _, path in ipairs(arguments) do
    local file = assert(io.open(path, "rb"))
    table.insert(bodies, wrk.format("POST", "/predict", { ["Content-Type"] = "image/jpeg" }, file:read("*a")))
    file:close()
  end
  at = number
  taken, others = {}, {} -- global: the main state reads them
end

function delay()
  local pause = wait
  wait = 0
  return pause
end

function request()
  at = at + 1
  started = milliseconds()
  return bodies[at % #bodies + 1]
end

function response(status, headers)
  if status == 200 then
    taken[#taken + 1] = milliseconds() - started
  else
    others[#others + 1] = status
    if status == 503 then
      for name, value in pairs(headers) do
        if name:lower() == "retry-after" then wait = 1000 * (tonumber(value) or 1) end
      end
    end
  end
end

function done(summary)
  local taken, others = {}, {}
  for _, client in ipairs(clients) do
    for _, value in ipairs(client:get("taken")) do taken[#taken + 1] = ("%.3f"):format(value) end
    for _, value in ipairs(client:get("others")) do others[#others + 1] = tostring(value) end
  end
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  print(('{"seconds": %.3f, "failed": %d, "taken": [%s], "others": [%s]}'):format(
    summary.duration / 1e6, failed, table.concat(taken, ", "), table.concat(others, ", ")))
end
