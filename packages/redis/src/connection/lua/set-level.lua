#!lua flags=allow-oom
-- set-level.lua  The leader has finished a resync of the store; the number never decreases.
-- KEYS  1 head  2 epoch  3 levels
-- ARGV  1 epoch  2 number of the resync
-- →     {"committed", 0} | {"deposed", 0} | {"notInitialised"}
--- include head
--- include epoch
if not initialised(KEYS[1]) then return { "notInitialised" } end
if is_deposed(KEYS[2], ARGV[1]) then return { "deposed", 0 } end
local reached = count(KEYS[3], "reached")
see_epoch(KEYS[2], ARGV[1])
if tonumber(ARGV[2]) > reached then redis.call("HSET", KEYS[3], "reached", ARGV[2]) end
return { "committed", 0 }
