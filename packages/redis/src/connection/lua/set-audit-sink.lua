#!lua flags=allow-oom
-- set-audit-sink.lua  Notes up to where the audit trail was given to a sink.
-- KEYS  1 head  2 epoch  3 sinks
-- ARGV  1 epoch  2 stamp (head.lua)  3.. each: sink/partition, number (6 bytes), hash and proof
-- →     {"committed", 0} | {"deposed", 0} | {"notInitialised"}
--- include head
--- include epoch
if not is_store(KEYS[1], ARGV[2]) then return { "notInitialised" } end
if is_deposed(KEYS[2], ARGV[1]) then return { "deposed", 0 } end
redis.call("HLEN", KEYS[3])
see_epoch(KEYS[2], ARGV[1])
for i = 3, #ARGV, 2 do redis.call("HSET", KEYS[3], ARGV[i], ARGV[i + 1]) end
return { "committed", 0 }
