#!lua flags=no-writes,allow-oom
-- levels.lua  The last resync that was asked for, the last that was reached, and the one that the last loss asked for.
-- KEYS  1 head  2 levels
-- →     {"found", 0, head, asked, reached, lost} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local asked, reached, lost = count(KEYS[2], "asked"), count(KEYS[2], "reached"), count(KEYS[2], "lost")
return { "found", 0, redis.call("GET", KEYS[1]), asked, reached, lost }
