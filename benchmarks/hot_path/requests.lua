-- What wrk asks, after `--`: how many members each list has, then the lists: members and others by turns, spread over the
-- whole list. Or `from` and a file of whole requests with a NUL between two of them. Either way from requests made
-- beforehand: making them would take the time that the load needs. At the end, one line of JSON with what wrk found.

local AT_MOST = 50000

local requests = {}
local position = 0

function init(arguments)
  if arguments[1] == "from" then
    local file = assert(io.open(arguments[2], "rb"))
    for one in file:read("*a"):gmatch("[^%z]+") do
      requests[#requests + 1] = one
    end
    file:close()
    return
  end
  local members = tonumber(arguments[1])
  local stride = math.max(1, math.floor(members / AT_MOST))
  local list = 2
  for number = 0, members - 1, stride do
    for _, asked in ipairs({ number, members + number }) do
      local value = string.format("user-%012d", asked)
      local path = "/check-attribute?attribute=" .. value .. "&listId=" .. arguments[list] .. "&accountId=123456"
      requests[#requests + 1] = wrk.format("GET", path)
    end
    list = list < #arguments and list + 1 or 2
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "failed": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
