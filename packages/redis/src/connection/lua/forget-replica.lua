#!lua flags=allow-oom
-- forget-replica.lua  An operator says that a replica is gone for good.
-- KEYS  1 head  2 replicas  3 replicas-version
-- ARGV  1 address
-- →     {"committed", 0, 1 if it was known} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
redis.call("GET", KEYS[3])
local forgotten = redis.call("HDEL", KEYS[2], ARGV[1])
if forgotten == 1 then redis.call("INCR", KEYS[3]) end
return { "committed", 0, forgotten }
