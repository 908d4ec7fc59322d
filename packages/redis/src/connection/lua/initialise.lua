#!lua
-- initialise.lua  Marks an empty Redis as a store of a region; refuses where there is any key.
-- KEYS  1 beat  2 replicas-version  3 region  4 keys  5 formats  6.. the head of every partition
-- ARGV  1 store id (16 bytes)  2 region  3 entry of storage key 1  4 note of {sys}:keys  5 format that every node
--       must read  6 its proof
-- →     {"committed", 0} | {"notEmpty", number of keys}
local size = redis.call("DBSIZE")
if size ~= 0 then return { "notEmpty", size } end
redis.call("SET", KEYS[1], string.rep("\0", 8))
redis.call("SET", KEYS[2], "0")
redis.call("SET", KEYS[3], ARGV[2])
redis.call("HSET", KEYS[4], "1", ARGV[3], "note", ARGV[4])
redis.call("HSET", KEYS[5], "required", ARGV[5], "requiredProof", ARGV[6])
for i = 6, #KEYS do redis.call("SET", KEYS[i], ARGV[1] .. string.rep("\0", 8)) end
return { "committed", 0 }
