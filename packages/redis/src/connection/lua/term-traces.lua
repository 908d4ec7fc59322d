#!lua flags=no-writes,allow-oom
-- term-traces.lua  Looks through buckets of terms for the entries of a record, by its creation counter.
-- KEYS  1 head  2.. buckets
-- ARGV  1 creation counter (6 bytes)
-- →     {"found", 0, head, for each entry: index of the bucket among the buckets, member} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local found = {}
for i = 2, #KEYS do
  for _, member in ipairs(redis.call("ZRANGE", KEYS[i], 0, -1)) do
    if (#member == 15 or #member == 23) and string.sub(member, -6) == ARGV[1] then
      found[#found + 1] = i - 1
      found[#found + 1] = member
    end
  end
end
return { "found", 0, redis.call("GET", KEYS[1]), found }
