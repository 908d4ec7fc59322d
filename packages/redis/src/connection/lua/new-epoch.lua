#!lua flags=allow-oom
-- new-epoch.lua  A new leader's epoch, higher than any that the store has seen.
-- KEYS  1 head  2 epoch
-- →     {"committed", 0, epoch} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
return { "committed", 0, redis.call("INCR", KEYS[2]) }
