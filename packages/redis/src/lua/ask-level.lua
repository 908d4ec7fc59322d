#!lua flags=allow-oom
-- ask-level.lua  A node asks that the store be levelled.
-- KEYS  1 head  2 levels
-- →     {"committed", 0, number of the wish} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
return { "committed", 0, redis.call("HINCRBY", KEYS[2], "asked", 1) }
