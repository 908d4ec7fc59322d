#!lua
-- add-kek.lua  Adds a wrapped KEK to an instance's. Fields: "k" id, and "w" id NUL region for each wrap; "n" is the
-- change number of the last change.
-- KEYS  1 head  2 counters  3 keks
-- ARGV  1 only if none (0|1)  2 id  3 KEK (JSON)  then for each wrap: region  wrap (JSON)
-- →     {"committed", change number} | {"exists", change number} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local number = count(KEYS[2], "change")
local taken = ARGV[1] == "1" and redis.call("HLEN", KEYS[3]) > 0
if taken or redis.call("HEXISTS", KEYS[3], "k" .. ARGV[2]) == 1 then return { "exists", number } end
number = number + 1
redis.call("HSET", KEYS[3], "k" .. ARGV[2], ARGV[3], "n", string.format("%d", number))
for i = 4, #ARGV, 2 do
  redis.call("HSET", KEYS[3], "w" .. ARGV[2] .. "\0" .. ARGV[i], ARGV[i + 1])
end
redis.call("HSET", KEYS[2], "change", string.format("%d", number))
return { "committed", number }
