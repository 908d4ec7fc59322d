#!lua flags=no-writes,allow-oom
-- reservations.lua  Everything that agreed operations hold.
-- KEYS  1 head (of {sys})  2.. reserved of each partition
-- →     {"found", 0, head, for each: identifiers and holds by turns} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local answer = { "found", 0, redis.call("GET", KEYS[1]) }
for i = 2, #KEYS do answer[#answer + 1] = redis.call("HGETALL", KEYS[i]) end
return answer
