#!lua flags=no-writes,allow-oom
-- levels.lua  The last resync that was asked for, the last that was reached, and the one that the last loss asked for.
-- KEYS  1 head  2 levels
-- →     {"found", 0, head, asked, lost, reached and its proof (empty for none)} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local asked, lost = count(KEYS[2], "asked"), count(KEYS[2], "lost")
local reached = redis.call("HMGET", KEYS[2], "reached", "reachedProof")
return { "found", 0, redis.call("GET", KEYS[1]), asked, lost, reached[1] or "", reached[2] or "" }
