#!lua flags=no-writes,allow-oom
-- find.lua  One page of an instance's objects, newest first; one script, so that index and records agree.
-- KEYS  1 head  2 counters  3 live  4 destroyed  5 reserved  6 bucket of the term
-- ARGV  1 term hash, or empty for all  2 live (0|1)  3 destroyed (0|1)  4 most  5 before (creation counter, or empty)
--       6 prefix of records  7 bytes of records from which the page is full
-- →     {"found", highest promised change number, head, next or "", identifiers, records, for each reserved one: its
--       index, the operation; 1 if the term led to the records, 0 if all were walked} | {"notInitialised"}
--- include head
--- include blocks
--- include terms
--- include reserved
if not initialised(KEYS[1]) then return { "notInitialised" } end
local promised = count(KEYS[2], "promised")
local most = tonumber(ARGV[4])
local before = tonumber(ARGV[5])
local narrow = ARGV[1] ~= "" and not is_common(KEYS[6], ARGV[1])

local function of(index, destroyed)
  if not narrow then return highest(index, before, most + 1) end
  local found = {}
  for _, created in ipairs(holders(KEYS[6], ARGV[1], destroyed, before, most + 1)) do
    local id = redis.call("ZRANGEBYSCORE", block_key(index, block_of(created)), created, created)[1]
    if not id then error("an index term has no object") end
    found[#found + 1] = { created, id }
  end
  return found
end

local found = ARGV[2] == "1" and of(KEYS[3], false) or {}
if ARGV[3] == "1" then
  for _, entry in ipairs(of(KEYS[4], true)) do found[#found + 1] = entry end
  table.sort(found, function(a, b) return a[1] > b[1] end)
end
local ids, records, reserved, bytes = {}, {}, {}, 0
for i = 1, math.min(most, #found) do
  -- An index entry without a record, or with another type of value there, must not fail the search: that is damage, too.
  local record = redis.pcall("GET", ARGV[6] .. found[i][2])
  if type(record) ~= "string" then record = "" end
  ids[i], records[i] = found[i][2], record
  local holder = is_marked(record) and holder_of(KEYS[5], found[i][2])
  if holder then
    reserved[#reserved + 1] = i
    reserved[#reserved + 1] = holder
  end
  bytes = bytes + #record
  if bytes >= tonumber(ARGV[7]) then break end
end
local next = #found > #records and string.format("%d", found[#records][1]) or ""
return { "found", promised, redis.call("GET", KEYS[1]), next, ids, records, reserved, narrow and 1 or 0 }
