#!lua
-- recount.lua  Counts some more objects of a partition by state anew, in the order of their last change; when all are
--              counted, wrong counts are corrected. Changes continue meanwhile: states.lua.
-- KEYS  1 head  2 counters  3 changes  4 states
-- ARGV  1 up to where they were counted, or empty to begin  2 up to where they are now  then for each record: change
--       number, member of changes, state, month and instance
-- →     {"committed", change number, whether all are counted (0|1), how many counts were wrong} | {"conflict", 0, up to
--       where they are counted, or empty} | {"notInitialised"}
--- include head
--- include blocks
--- include states
local head, counters, changes, states = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if not initialised(head) then return { "notInitialised" } end
local last, up_to = count(counters, "change"), tonumber(ARGV[2])
local at = redis.call("HGET", states, "@")
if (at or "") ~= ARGV[1] then return { "conflict", 0, at or "" } end
if not at then
  local all = redis.call("HGETALL", states)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == "~" then redis.call("HDEL", states, all[i]) end
  end
end
for i = 3, #ARGV, 3 do
  local number = tonumber(ARGV[i])
  -- A record that was changed since it was read is counted later.
  local score = redis.call("ZSCORE", block_key(changes, block_of(number)), ARGV[i + 1])
  if score and tonumber(score) == number then redis.call("HINCRBY", states, "~" .. ARGV[i + 2], 1) end
end
if up_to < last then
  redis.call("HSET", states, "@", ARGV[2])
  return { "committed", last, 0, 0 }
end
local all, is, should, wrong = redis.call("HGETALL", states), {}, {}, 0
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  if string.find(field, "^~") then should[string.sub(field, 2)] = value end
  if string.find(field, "^%d") then is[field] = value end
  redis.call("HDEL", states, field)
end
for field, value in pairs(should) do
  if is[field] ~= value then wrong = wrong + 1 end
  is[field] = nil
  redis.call("HSET", states, field, value)
end
for _ in pairs(is) do wrong = wrong + 1 end
redis.call("HSET", states, "=", "1")
return { "committed", last, 1, wrong }
