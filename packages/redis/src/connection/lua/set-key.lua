#!lua flags=allow-oom
-- set-key.lua  Writes the entry of a storage key, if there is still the one that was read.
-- KEYS  1 head (of {sys})  2 keys
-- ARGV  1 store id (16 bytes)  2 number  3 entry as read (empty for none)  4 new entry
-- →     {"committed", 0} | {"conflict", 0} | {"notInitialised"}
--- include head
if not is_store(KEYS[1], ARGV[1]) then return { "notInitialised" } end
if (redis.call("HGET", KEYS[2], ARGV[2]) or "") ~= ARGV[3] then return { "conflict", 0 } end
redis.call("HSET", KEYS[2], ARGV[2], ARGV[4])
return { "committed", 0 }
