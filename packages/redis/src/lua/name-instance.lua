#!lua
-- name-instance.lua  Names an instance in {sys}; its status lies in its own partition.
-- KEYS  1 head  2 counters  3 instances
-- ARGV  1 instance  2 name
-- →     {"committed", change number} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local number = count(KEYS[2], "change")
if redis.call("HGET", KEYS[3], ARGV[1]) ~= ARGV[2] then
  number = number + 1
  redis.call("HSET", KEYS[3], ARGV[1], ARGV[2])
  redis.call("HSET", KEYS[2], "change", string.format("%d", number))
end
return { "committed", number }
