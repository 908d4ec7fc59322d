#!lua flags=allow-oom
-- marker.lua  A write of fixed length, so that a WAITAOF after it covers the writes before. Runs when memory is full.
-- KEYS  1 head (of {sys})  2 beat  3 replicas-version  4 formats  5 keys
-- ARGV  1 token (8 bytes)
-- →     {"committed", change number of {sys} = 0, store id, version of the set of replicas, the format of records that is
--       required of nodes, its proof or "", TIME in milliseconds, note of {sys}:keys or ""} | {"notInitialised"}
--- include head
--- include formats
if not initialised(KEYS[1]) then return { "notInitialised" } end
local version = redis.call("GET", KEYS[3])
local required = redis.call("HMGET", KEYS[4], "required", "requiredProof")
local note = redis.call("HMGET", KEYS[5], "note")
redis.call("SETRANGE", KEYS[2], 0, ARGV[1])
return {
  "committed", 0, redis.call("GETRANGE", KEYS[1], 0, 15), version or "",
  required[1] or "0", required[2] or "", now_ms(), note[1] or "",
}
