#!lua flags=no-writes,allow-oom
-- audit-seek.lua  Finds by halves where a time begins in a partition's audit trail; entries lie about in order of time.
-- KEYS  1 head  2 counters  3 audit
-- ARGV  1 milliseconds since the epoch
-- →     {"found", number of the first entry that is not older, head} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local time = tonumber(ARGV[1])
local first = redis.call("XRANGE", KEYS[3], "-", "+", "COUNT", 1)[1]
local high = count(KEYS[2], "audit") + 1
local low = first and tonumber(string.match(first[1], "^%d+")) or high
while low < high do
  local middle = math.floor((low + high) / 2)
  local found = redis.call("XRANGE", KEYS[3], string.format("%d-0", middle), "+", "COUNT", 1)[1]
  local entry = found and found[2][#found[2]]
  if not entry or #entry < 8 or struct.unpack(">I6", entry, 3) >= time then high = middle else low = middle + 1 end
end
return { "found", low, redis.call("GET", KEYS[1]) }
