#!lua flags=no-writes,allow-oom
-- traces.lua  Looks through some blocks of an index for what a record left there, when its own bytes do not say.
-- KEYS  1 head  2 index (live, destroyed or changes)
-- ARGV  1 identifier  2 first block  3 most blocks
-- →     {"found", 0, head, next block or "", for each entry: score, member} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local most, found, next = tonumber(ARGV[3]), {}, ""
local blocks = redis.call("ZRANGEBYSCORE", KEYS[2], ARGV[2], "+inf", "LIMIT", 0, most + 1)
for i, block in ipairs(blocks) do
  if i > most then
    next = block
    break
  end
  local entries = redis.call("ZRANGEBYSCORE", KEYS[2] .. ":" .. block, "-inf", "+inf", "WITHSCORES")
  for at = 1, #entries, 2 do
    if string.sub(entries[at], 1, 16) == ARGV[1] then
      found[#found + 1] = entries[at + 1]
      found[#found + 1] = entries[at]
    end
  end
end
return { "found", 0, redis.call("GET", KEYS[1]), next, found }
