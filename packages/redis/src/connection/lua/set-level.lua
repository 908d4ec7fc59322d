#!lua flags=allow-oom
-- set-level.lua  The leader has finished a resync of the store; the number never decreases.
-- KEYS  1 head  2 epoch  3 levels
-- ARGV  1 epoch  2 stamp (head.lua)  3 number of the resync  4 its proof  5 the number as read that counts as absent,
--       since it did not prove itself, or empty
-- →     {"committed", 0} | {"deposed", 0} | {"notInitialised"}
--- include head
--- include epoch
--- include proven
if not is_store(KEYS[1], ARGV[2]) then return { "notInitialised" } end
if is_deposed(KEYS[2], ARGV[1]) then return { "deposed", 0 } end
local reached = proven_or_nil(KEYS[3], "reached", ARGV[5]) or 0
see_epoch(KEYS[2], ARGV[1])
if tonumber(ARGV[3]) > reached then set_proven(KEYS[3], "reached", ARGV[3], ARGV[4]) end
return { "committed", 0 }
