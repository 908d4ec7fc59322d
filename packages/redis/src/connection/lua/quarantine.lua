#!lua
-- quarantine.lua  Puts bytes aside.
-- KEYS  1 head  2 quarantine
-- ARGV  1 name  2 bytes
-- →     {"committed", 0} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
redis.call("HSET", KEYS[2], ARGV[1], ARGV[2])
return { "committed", 0 }
