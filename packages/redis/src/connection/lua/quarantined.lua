#!lua flags=no-writes,allow-oom
-- quarantined.lua  How much lies in quarantine.
-- KEYS  1 head (of {sys})  2.. quarantine of each partition
-- →     {"found", 0, head, how much} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local sum = 0
for i = 2, #KEYS do sum = sum + redis.call("HLEN", KEYS[i]) end
return { "found", 0, redis.call("GET", KEYS[1]), sum }
