-- Programs as a service gets them, for wrk: half of them short, the others with packages, an error, output, a little work.
local programs = {
  'print("hi")', 'print("hi")', 'print(sum(range(1000)))', 'print("hi")',
  'import numpy as np; print(np.arange(1000).sum())',
  'import pandas as pd; print(pd.DataFrame({"a": [1, 2, 3]}).describe())',
  'raise ValueError("expected")',
  'for i in range(2000): print(i)',
}
local number = 0
local statuses = {}

local function quoted(text)
  return '"' .. text:gsub('\\', '\\\\'):gsub('"', '\\"') .. '"'
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
end

function init()
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  counts = ""
end

function request()
  number = number + 1
  return wrk.format(nil, "/api/python/execute", nil, '{"code": ' .. quoted(programs[number % #programs + 1]) .. '}')
end

function response(status)
  statuses[status] = (statuses[status] or 0) + 1
  local text = ""
  for known, count in pairs(statuses) do
    text = text .. known .. "=" .. count .. " "
  end
  counts = text
end

function done(summary, latency)
  local all = {}
  for _, thread in ipairs(threads) do
    for known, count in thread:get("counts"):gmatch("(%d+)=(%d+)") do
      all[known] = (all[known] or 0) + tonumber(count)
    end
  end
  local text = ""
  for known, count in pairs(all) do
    text = text .. " " .. known .. "=" .. count
  end
  local errors = summary.errors
  io.write(string.format("LOAD duration_us=%d p50_us=%d p90_us=%d p99_us=%d max_us=%d connect=%d read=%d write=%d timeout=%d%s\n",
    summary.duration, latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.timeout, text))
end
