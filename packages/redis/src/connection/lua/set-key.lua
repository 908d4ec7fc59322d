#!lua flags=allow-oom
-- set-key.lua  Writes a field of {sys}:keys, or the proof of a value by another storage key, if there is still the one that was
--              read.
-- KEYS  1 head (of {sys})  2 keys, or the hash of the value
-- ARGV  1 stamp (head.lua)  2 field  3 its value as read (empty for none)  4 new value
-- →     {"committed", 0} | {"conflict", 0} | {"notInitialised"}
--- include head
if not is_store(KEYS[1], ARGV[1]) then return { "notInitialised" } end
if (redis.call("HGET", KEYS[2], ARGV[2]) or "") ~= ARGV[3] then return { "conflict", 0 } end
redis.call("HSET", KEYS[2], ARGV[2], ARGV[4])
return { "committed", 0 }
