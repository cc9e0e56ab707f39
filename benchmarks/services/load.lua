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
  taken, rest, others = {}, {}, {} -- global: the main state reads them
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

-- What the service counts to the work itself, in milliseconds; nil where it does not tell.
local function work(timing)
  local sum
  for stage, duration in timing:gmatch("(%a+);dur=([%d.]+)") do
    if stage == "download" or stage == "decode" or stage == "inference" then
      sum = (sum or 0) + tonumber(duration)
    end
  end
  return sum
end

function response(status, headers)
  local latency = milliseconds() - started
  if status ~= 200 then others[#others + 1] = status else taken[#taken + 1] = latency end
  for name, value in pairs(headers) do
    name = name:lower()
    if status == 503 and name == "retry-after" then wait = 1000 * (tonumber(value) or 1) end
    if status == 200 and name == "server-timing" then
      local spent = work(value)
      if spent then rest[#rest + 1] = latency - spent end
    end
  end
end

local function listed(name, form)
  local found = {}
  for _, client in ipairs(clients) do
    for _, value in ipairs(client:get(name)) do found[#found + 1] = form:format(value) end
  end
  return "[" .. table.concat(found, ", ") .. "]"
end

function done(summary)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  print(('{"seconds": %.3f, "failed": %d, "taken": %s, "rest": %s, "others": %s}'):format(
    summary.duration / 1e6, failed, listed("taken", "%.3f"), listed("rest", "%.3f"), listed("others", "%d")))
end
