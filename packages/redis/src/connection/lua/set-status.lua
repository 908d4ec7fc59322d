#!lua flags=allow-oom
-- set-status.lua  Gives an instance another status, if it has one of those that are said. One that is Deleted stays so.
-- KEYS  1 head  2 counters  3 status
-- ARGV  1 the new status  2.. the statuses that it may have now, empty for none
-- →     {"committed", change number, status} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local number = count(KEYS[2], "change")
local status = redis.call("GET", KEYS[3]) or ""
local may = false
for i = 2, #ARGV do may = may or ARGV[i] == status end
if may and status ~= "Deleted" then
  status = ARGV[1]
  redis.call("SET", KEYS[3], status)
end
return { "committed", number, status }
