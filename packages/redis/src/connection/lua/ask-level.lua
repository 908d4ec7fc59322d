#!lua flags=allow-oom
-- ask-level.lua  A node asks for a resync of the store; where the store has fallen behind, for every node.
-- KEYS  1 head  2 levels
-- ARGV  1 store id (16 bytes)  2 whether the level is lost ("1" or "0")  3 the last resync that was proven to be reached, or 0
-- →     {"committed", 0, number of the resync} | {"notInitialised"}
-- The number is above the reached one: what was asked has no proof, and somebody may have set it back.
--- include head
if not is_store(KEYS[1], ARGV[1]) then return { "notInitialised" } end
local asked = math.max(count(KEYS[2], "asked"), tonumber(ARGV[3])) + 1
redis.call("HSET", KEYS[2], "asked", string.format("%d", asked))
if ARGV[2] == "1" then redis.call("HSET", KEYS[2], "lost", string.format("%d", asked)) end
return { "committed", 0, asked }
