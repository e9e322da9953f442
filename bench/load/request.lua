-- One completion per request: TARGET is the path, MODEL the model. BODY_BYTES sets its size; UNIQUE=1 makes every request different (a cache miss);
-- CYCLE=N goes round N of them.
local size = tonumber(os.getenv("BODY_BYTES") or "600")
local unique = os.getenv("UNIQUE") == "1"
local cycle = tonumber(os.getenv("CYCLE") or "0")
local stream = os.getenv("STREAM") == "1" and "true" or "false"
local path = os.getenv("TARGET") or "/v1/chat/completions"

local model = os.getenv("MODEL") or "gpt-5.5"
local head = '{"model":"' .. model .. '","stream":' .. stream .. ',"temperature":0.2,"max_completion_tokens":200,"messages":['
local messages = {'{"role":"system","content":"You are a helpful assistant. Answer briefly and precisely."}'}
local turn = "Tell me about the history of the city, its rivers, bridges and people, in a few words. "
while #head + #table.concat(messages, ",") < size - 200 do
  local text = string.rep(turn, math.max(1, math.min(60, math.floor((size - 300 - #table.concat(messages, ",")) / #turn))))
  messages[#messages + 1] = '{"role":"user","content":"' .. text .. '"}'
end
local middle = table.concat(messages, ",") .. ',{"role":"user","content":"Question number '
local tail = '?"}]}'
local headers = {["content-type"] = "application/json", ["authorization"] = "Bearer client-key"}

local counter = 0
function request()
  counter = counter + 1
  local number = unique and string.format("%012d", counter + math.floor(os.clock() * 1e6) * 1000000) or "1"
  if cycle > 0 then number = string.format("%012d", counter % cycle) end
  return wrk.format("POST", path, headers, head .. middle .. number .. tail)
end
