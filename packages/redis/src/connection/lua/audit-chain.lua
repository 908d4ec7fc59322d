#!lua flags=allow-oom
-- audit-chain.lua  Moves a partition's audit chain on, or cuts its beginning off, with the entries there.
-- KEYS  1 head  2 counters  3 epoch  4 chain  5 audit  6 shares, which are the counters of a surplus
-- ARGV  1 epoch  2 stamp (head.lua)  3 number of the point "head" as it must be, or empty  4 new base's number, or empty
--       5 number of points to set, then each: name, point; then names of points that go
-- →     {"committed", 0} | {"conflict", 0} | {"deposed", 0} | {"notInitialised"}
-- A point begins with its number (6 bytes), and ends with its proof.
--- include head
--- include epoch
--- include audit
if not is_store(KEYS[1], ARGV[2]) then return { "notInitialised" } end
if is_deposed(KEYS[3], ARGV[1]) then return { "deposed", 0 } end
local at = redis.call("HGET", KEYS[4], "head")
local number = at and struct.unpack(">I6", at) or 0
if ARGV[3] ~= "" and number ~= tonumber(ARGV[3]) then return { "conflict", 0 } end
count(KEYS[2], "auditBase")
local held = {}
-- A fault of the trail must stop the script before its first write.
redis.call("XRANGE", KEYS[5], "+", "+", "COUNT", 1)
if ARGV[4] ~= "" and KEYS[2] ~= KEYS[6] then
  local gone = redis.call("XRANGE", KEYS[5], "-", string.format("%d-0", tonumber(ARGV[4])))
  for _, each in ipairs(gone) do
    local owner = owner_of(each[2][#each[2]])
    held[owner] = (held[owner] or held_in(KEYS[6], owner)) - 1
  end
end
see_epoch(KEYS[3], ARGV[1])
if ARGV[4] ~= "" then
  redis.call("XTRIM", KEYS[5], "MINID", string.format("%d-0", tonumber(ARGV[4]) + 1))
  redis.call("HSET", KEYS[2], "auditBase", ARGV[4])
  for owner, amount in pairs(held) do set_held(KEYS[6], owner, amount) end
end
local points = 2 * tonumber(ARGV[5])
for i = 6, 5 + points, 2 do redis.call("HSET", KEYS[4], ARGV[i], ARGV[i + 1]) end
for i = 6 + points, #ARGV do redis.call("HDEL", KEYS[4], ARGV[i]) end
return { "committed", 0 }
