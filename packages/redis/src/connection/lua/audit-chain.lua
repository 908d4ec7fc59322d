#!lua flags=allow-oom
-- audit-chain.lua  Moves a partition's audit chain on, or cuts its beginning off, with the entries there.
-- KEYS  1 head  2 counters  3 epoch  4 chain  5 audit
-- ARGV  1 epoch  2 number of the point "head" as it must be, or empty  3 new base's number, or empty  4 number of points
--       to set, then each: name, point; then names of points that go
-- →     {"committed", 0} | {"conflict", 0} | {"deposed", 0} | {"notInitialised"}
-- A point begins with its number (6 bytes).
--- include head
--- include epoch
if not initialised(KEYS[1]) then return { "notInitialised" } end
if is_deposed(KEYS[3], ARGV[1]) then return { "deposed", 0 } end
local at = redis.call("HGET", KEYS[4], "head")
local number = at and struct.unpack(">I6", at) or 0
if ARGV[2] ~= "" and number ~= tonumber(ARGV[2]) then return { "conflict", 0 } end
count(KEYS[2], "auditBase")
see_epoch(KEYS[3], ARGV[1])
if ARGV[3] ~= "" then
  redis.call("XTRIM", KEYS[5], "MINID", string.format("%d-0", tonumber(ARGV[3]) + 1))
  redis.call("HSET", KEYS[2], "auditBase", ARGV[3])
end
local points = 2 * tonumber(ARGV[4])
for i = 5, 4 + points, 2 do redis.call("HSET", KEYS[4], ARGV[i], ARGV[i + 1]) end
for i = 5 + points, #ARGV do redis.call("HDEL", KEYS[4], ARGV[i]) end
return { "committed", 0 }
