-- The first write of a script, so that whatever is wrong with the stream stops it before any other.
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
