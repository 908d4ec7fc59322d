#!lua flags=no-writes,allow-oom
-- changes.lua  One page of changed records, in the order of their last change.
-- KEYS  1 head  2 counters  3 changes
-- ARGV  1 after (change number)  2 most  3 bytes of records from which the page is full  4 prefix of records
-- →     {"found", change number up to which the page is complete, head, change number, for each record: its
--       identifier, its value (empty where it has none)} | {"notInitialised"}
--- include head
--- include blocks
if not initialised(KEYS[1]) then return { "notInitialised" } end
local after, most, last = tonumber(ARGV[1]), tonumber(ARGV[2]), count(KEYS[2], "change")
local entries = lowest(KEYS[3], after, most + 1)
local page, taken, bytes, up_to = {}, 0, 0, after
for i = 1, math.min(most, #entries) do
  local id = string.sub(entries[i][2], 1, 16)
  local value = redis.pcall("GET", ARGV[4] .. id)
  if type(value) ~= "string" then value = "" end
  page[2 * i - 1], page[2 * i] = id, value
  taken, up_to, bytes = i, entries[i][1], bytes + #value
  if bytes >= tonumber(ARGV[3]) then break end
end
if taken == #entries then up_to = math.max(after, last) end
return { "found", up_to, redis.call("GET", KEYS[1]), last, page }
