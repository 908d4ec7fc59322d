-- Appends the events ARGV[first] .. ARGV[first + events - 1] (instance first); each gets the next sequence number.
local function append_audit(stream, counters, kept, instance, first, events)
  if events == 0 then return end
  local number = count(counters, "audit")
  for i = first, first + events - 1 do
    number = number + 1
    redis.call(
      "XADD", stream, "MAXLEN", "~", kept, string.format("%d-0", number), "i", instance, "e", ARGV[i]
    )
  end
  redis.call("HSET", counters, "audit", string.format("%d", number))
end

-- Fails where an append would.
local function check_audit(stream, counters)
  local last = redis.call("XREVRANGE", stream, "+", "-", "COUNT", 1)[1]
  local number = count(counters, "audit")
  if last and tonumber(string.match(last[1], "^(%d+)")) > number then
    error("the audit stream is ahead of its counter")
  end
end
