-- The first write of a script, so that whatever is wrong with the stream stops it before any other.
-- Appends an instance's events; each gets the next sequence number.
local function append_audit(stream, counters, kept, instance, events)
  if #events == 0 then return end
  local number = count(counters, "audit")
  for _, event in ipairs(events) do
    number = number + 1
    redis.call(
      "XADD", stream, "MAXLEN", "~", kept, string.format("%d-0", number), "i", instance, "e", event
    )
  end
  redis.call("HSET", counters, "audit", string.format("%d", number))
end
