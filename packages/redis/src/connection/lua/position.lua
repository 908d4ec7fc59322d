#!lua flags=no-writes,allow-oom
-- position.lua  The change numbers of all partitions at one moment.
-- KEYS  1.. head and counters of each partition
-- →     {"found", 0, for each: head, change number} | {"notInitialised"}
--- include head
local answer = { "found", 0 }
for i = 1, #KEYS, 2 do
  local head = head_of(KEYS[i])
  if not head then return { "notInitialised" } end
  answer[#answer + 1] = head
  answer[#answer + 1] = count(KEYS[i + 1], "change")
end
return answer
