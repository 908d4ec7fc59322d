#!lua flags=no-writes,allow-oom
-- local-value.lua  A value that a region's nodes share, and no other region gets.
-- KEYS  1 head  2 local
-- ARGV  1 name
-- →     {"found", 0, head, value or ""} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
return { "found", 0, redis.call("GET", KEYS[1]), redis.call("HGET", KEYS[2], ARGV[1]) or "" }
