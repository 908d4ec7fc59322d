#!lua flags=allow-oom
-- set-cursor.lua  Notes up to where another region's changes of a partition were read.
-- KEYS  1 head  2 epoch  3 cursors
-- ARGV  1 epoch  2 stamp (head.lua)  3 region  4 cursor, which ends with its proof
-- →     {"committed", 0} | {"deposed", 0} | {"notInitialised"}
--- include head
--- include epoch
if not is_store(KEYS[1], ARGV[2]) then return { "notInitialised" } end
if is_deposed(KEYS[2], ARGV[1]) then return { "deposed", 0 } end
redis.call("HLEN", KEYS[3])
see_epoch(KEYS[2], ARGV[1])
redis.call("HSET", KEYS[3], ARGV[3], ARGV[4])
return { "committed", 0 }
