#!lua flags=no-writes,allow-oom
-- audit-points.lua  Points of a partition's audit chain.
-- KEYS  1 head  2 chain
-- ARGV  1.. numbers
-- →     {"found", 0, head, for each number: its point, empty where it has no point} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local points = {}
for i, number in ipairs(ARGV) do points[i] = redis.call("HGET", KEYS[2], number) or "" end
return { "found", 0, redis.call("GET", KEYS[1]), points }
