#!lua flags=no-writes,allow-oom
-- audit-entries.lua  One page of a partition's audit trail.
-- KEYS  1 head  2 counters  3 audit
-- ARGV  1 "after" (oldest first) or "before" (newest first)  2 that number  3 most  4 bytes from which the page is full
-- →     {"found", number of the last entry, head, for each entry: its number, its bytes} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local up, from, most = ARGV[1] == "after", tonumber(ARGV[2]), tonumber(ARGV[3])
local page, bytes = {}, 0
while #page < 2 * most and bytes < tonumber(ARGV[4]) do
  local some = math.min(64, most - #page / 2)
  local entries
  if up then
    entries = redis.call("XRANGE", KEYS[3], string.format("%d-0", from + 1), "+", "COUNT", some)
  elseif from > 1 then
    entries = redis.call("XREVRANGE", KEYS[3], string.format("%d-0", from - 1), "-", "COUNT", some)
  else
    entries = {}
  end
  for _, each in ipairs(entries) do
    from = tonumber(string.match(each[1], "^%d+"))
    local entry = each[2][#each[2]]
    page[#page + 1], page[#page + 2] = from, entry
    bytes = bytes + #entry
  end
  if #entries < some then break end
end
return { "found", count(KEYS[2], "audit"), redis.call("GET", KEYS[1]), page }
