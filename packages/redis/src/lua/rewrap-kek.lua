#!lua
-- rewrap-kek.lua  Replaces one region's wrap of a KEK if its blob is still the expected one.
-- KEYS  1 head  2 counters  3 keks
-- ARGV  1 id  2 region  3 expected blob (base64)  4 wrap (JSON)
-- →     {"committed", change number} | {"conflict", change number} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local number = count(KEYS[2], "change")
local field = "w" .. ARGV[1] .. "\0" .. ARGV[2]
local wrap = redis.call("HGET", KEYS[3], field)
if not wrap or cjson.decode(wrap).blob ~= ARGV[3] then return { "conflict", number } end
number = number + 1
redis.call("HSET", KEYS[3], field, ARGV[4], "n", string.format("%d", number))
redis.call("HSET", KEYS[2], "change", string.format("%d", number))
return { "committed", number }
