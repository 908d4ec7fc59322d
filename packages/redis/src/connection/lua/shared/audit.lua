-- audit: a stream whose entries' ids are their sequence numbers, which have no gaps: <number>-0 e <entry>. About `kept`
-- entries stay: what is beyond is given up at a multiple of 256, where the leader keeps a point of its chain.
-- The first write of a script, so that any fault of the stream stops it before another write.
local function append_audit(stream, counters, kept, entries)
  if #entries == 0 then return end
  local before, gone = count(counters, "audit"), math.max(count(counters, "auditDropped"), count(counters, "auditBase"))
  local number = before
  for _, entry in ipairs(entries) do
    number = number + 1
    redis.call("XADD", stream, string.format("%d-0", number), "e", entry)
  end
  redis.call("HSET", counters, "audit", string.format("%d", number))
  local blocks = math.floor(number / 256)
  if blocks == math.floor(before / 256) then return end
  -- At most so many at once, since all other clients wait meanwhile.
  local up_to = math.min((blocks - math.ceil(tonumber(kept) / 256)) * 256, (math.floor(gone / 256) + 16) * 256)
  if up_to <= gone then return end
  redis.call("XTRIM", stream, "MINID", string.format("%d-0", up_to + 1))
  redis.call("HSET", counters, "auditDropped", string.format("%d", up_to))
end
