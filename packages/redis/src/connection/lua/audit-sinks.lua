#!lua flags=no-writes,allow-oom
-- audit-sinks.lua  Up to where the audit trail was given to sinks.
-- KEYS  1 head  2 sinks
-- →     {"found", 0, head, for each: sink/partition, number (6 bytes), hash and proof} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
return { "found", 0, redis.call("GET", KEYS[1]), redis.call("HGETALL", KEYS[2]) }
