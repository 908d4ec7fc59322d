#!lua
-- set-local-value.lua  Replaces such a value, if it is still the one that was read.
-- KEYS  1 head  2 local
-- ARGV  1 name  2 value that was read, or ""  3 value
-- →     {"committed", 0} | {"conflict", 0} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
if (redis.call("HGET", KEYS[2], ARGV[1]) or "") ~= ARGV[2] then return { "conflict", 0 } end
redis.call("HSET", KEYS[2], ARGV[1], ARGV[3])
return { "committed", 0 }
