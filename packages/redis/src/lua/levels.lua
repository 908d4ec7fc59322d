#!lua flags=no-writes,allow-oom
-- levels.lua  How often levelling was asked for, and which of these wishes was reached.
-- KEYS  1 head  2 levels
-- →     {"found", 0, head, asked, reached} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
return { "found", 0, redis.call("GET", KEYS[1]), count(KEYS[2], "asked"), count(KEYS[2], "reached") }
