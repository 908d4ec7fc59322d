#!lua flags=no-writes,allow-oom
-- levels.lua  How often levelling was asked for, which of these wishes was reached, and the one of the last loss.
-- KEYS  1 head  2 levels
-- →     {"found", 0, head, asked, reached, lost} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local asked, reached, lost = count(KEYS[2], "asked"), count(KEYS[2], "reached"), count(KEYS[2], "lost")
return { "found", 0, redis.call("GET", KEYS[1]), asked, reached, lost }
