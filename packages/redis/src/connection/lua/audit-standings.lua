#!lua flags=no-writes,allow-oom
-- audit-standings.lua  The state of the audit trails of all partitions at one moment.
-- KEYS  1.. head, counters and chain of each partition
-- →     {"found", 0, for each: head, number of the last entry, number up to which entries were given up, points "head"
--       and "base" of the chain (empty without one)} | {"notInitialised"}
--- include head
local answer, heads = { "found", 0 }, {}
for i = 1, #KEYS, 3 do
  -- The trail and the surplus of a partition have one head.
  local head = heads[KEYS[i]] or head_of(KEYS[i])
  if not head then return { "notInitialised" } end
  heads[KEYS[i]] = head
  local last, dropped = two_counts(KEYS[i + 1], "audit", "auditDropped")
  local points = redis.call("HMGET", KEYS[i + 2], "head", "base")
  answer[#answer + 1] = head
  answer[#answer + 1] = last
  answer[#answer + 1] = dropped
  answer[#answer + 1] = points[1] or ""
  answer[#answer + 1] = points[2] or ""
end
return answer
