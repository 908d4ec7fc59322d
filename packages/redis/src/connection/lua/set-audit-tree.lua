#!lua flags=allow-oom
-- set-audit-tree.lua  Adds leaves to the log over the audit trail, or removes its oldest, and sets its texts.
-- KEYS  1 head  2 epoch  3 tree  4 leaves
-- ARGV  1 epoch  2 size of the tree as it must be, or empty  3 "anew" to remove another tree first, or empty  4 number
--       of the first leaf, or empty  5 leaves  6 number of the first leaf that stays, or empty  7.. each: name, text
-- →     {"committed", 0} | {"conflict", 0} | {"deposed", 0} | {"notInitialised"}
--- include head
--- include epoch
if not initialised(KEYS[1]) then return { "notInitialised" } end
if is_deposed(KEYS[2], ARGV[1]) then return { "deposed", 0 } end
if ARGV[2] ~= "" and (redis.call("HGET", KEYS[3], "size") or "0") ~= ARGV[2] then return { "conflict", 0 } end
see_epoch(KEYS[2], ARGV[1])
if ARGV[3] == "anew" then redis.call("DEL", KEYS[3], KEYS[4]) end
if ARGV[4] ~= "" then redis.call("XADD", KEYS[4], string.format("%d-1", tonumber(ARGV[4])), "l", ARGV[5]) end
if ARGV[6] ~= "" then redis.call("XTRIM", KEYS[4], "MINID", string.format("%d-0", tonumber(ARGV[6]))) end
for i = 7, #ARGV, 2 do redis.call("HSET", KEYS[3], ARGV[i], ARGV[i + 1]) end
return { "committed", 0 }
