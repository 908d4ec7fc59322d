#!lua flags=allow-oom
-- remember-replica.lua  Adds addresses to the replicas that a barrier must cover.
-- KEYS  1 head  2 replicas  3 replicas-version
-- ARGV  1 milliseconds since the epoch  2.. addresses
-- →     {"committed", 0} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
redis.call("GET", KEYS[3])
local added = 0
for i = 2, #ARGV do added = added + redis.call("HSETNX", KEYS[2], ARGV[i], ARGV[1]) end
if added > 0 then redis.call("INCR", KEYS[3]) end
return { "committed", 0 }
