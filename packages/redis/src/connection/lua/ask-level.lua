#!lua flags=allow-oom
-- ask-level.lua  A node asks for a resync of the store; where the store has fallen behind, for every node.
-- KEYS  1 head  2 levels
-- ARGV  1 whether the level is lost ("1" or "0")
-- →     {"committed", 0, number of the resync} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local asked = redis.call("HINCRBY", KEYS[2], "asked", 1)
if ARGV[1] == "1" then redis.call("HSET", KEYS[2], "lost", asked) end
return { "committed", 0, asked }
