#!lua flags=no-writes,allow-oom
-- counts.lua  How many objects each instance of a partition has, by state and month.
-- KEYS  1 head  2 counters  3 states
-- →     {"found", highest promised change number, head, whether every record is counted (0|1), for each: state (a
--       digit), month (four digits) and instance, how many} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local all, found, counted = redis.call("HGETALL", KEYS[3]), {}, count(KEYS[2], "change") == 0 and 1 or 0
for i = 1, #all, 2 do
  if all[i] == "=" then
    counted = 1
  elseif string.find(all[i], "^%d") then
    found[#found + 1] = all[i]
    found[#found + 1] = all[i + 1]
  end
end
return { "found", count(KEYS[2], "promised"), redis.call("GET", KEYS[1]), counted, found }
