#!lua
-- install-instance.lua  Makes an instance Installed where it has no status yet.
-- KEYS  1 head  2 counters  3 status
-- →     {"committed", change number, status} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local number = count(KEYS[2], "change")
local status = redis.call("GET", KEYS[3])
if not status then
  status = "Installed"
  redis.call("SET", KEYS[3], status)
end
return { "committed", number, status }
