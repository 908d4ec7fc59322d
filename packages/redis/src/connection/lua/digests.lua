#!lua flags=no-writes,allow-oom
-- digests.lua  A partition's digests, and the change number that they rest on.
-- KEYS  1 head  2 counters  3 digests
-- →     {"found", change number, head, digests} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
return { "found", count(KEYS[2], "change"), redis.call("GET", KEYS[1]), redis.call("GET", KEYS[3]) or "" }
