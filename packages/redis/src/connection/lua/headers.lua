#!lua flags=no-writes,allow-oom
-- headers.lua  One page of the headers of changed records, in the order of their last change: changes.lua without bodies.
-- KEYS  1 head  2 counters  3 changes
-- ARGV  1 after (change number)  2 most  3 up to (change number)  4 prefix of records
-- →     {"found", change number up to which the page is complete, head, change number, for each record: its
--       identifier, its header (empty where it has none)} | {"notInitialised"}
--- include head
--- include blocks
if not initialised(KEYS[1]) then return { "notInitialised" } end
local after, most, highest_asked = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local last = count(KEYS[2], "change")
local entries = lowest(KEYS[3], after, most + 1)
local page, up_to = {}, after
for i = 1, math.min(most, #entries) do
  if entries[i][1] > highest_asked then break end
  local id = string.sub(entries[i][2], 1, 16)
  local header = redis.pcall("GETRANGE", ARGV[4] .. id, 0, 73)
  if type(header) ~= "string" then header = "" end
  page[2 * i - 1], page[2 * i] = id, header
  up_to = entries[i][1]
end
if #page == 2 * #entries or entries[#page / 2 + 1][1] > highest_asked then up_to = math.max(after, highest_asked) end
return { "found", up_to, redis.call("GET", KEYS[1]), last, page }
