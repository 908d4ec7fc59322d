#!lua
-- initialise.lua  Marks an empty Redis as a store; refuses where there is any key.
-- KEYS  1 beat  2 replicas-version  3.. the head of every partition
-- ARGV  1 store id (16 bytes)
-- →     {"committed", 0} | {"notEmpty", number of keys}
local size = redis.call("DBSIZE")
if size ~= 0 then return { "notEmpty", size } end
redis.call("SET", KEYS[1], string.rep("\0", 8))
redis.call("SET", KEYS[2], "0")
for i = 3, #KEYS do redis.call("SET", KEYS[i], ARGV[1] .. string.rep("\0", 6)) end
return { "committed", 0 }
