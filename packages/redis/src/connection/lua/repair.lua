#!lua
-- repair.lua  Puts a damaged record's bytes aside and writes a whole one in its place, with all indexes.
-- KEYS  1 head  2 counters  3 live  4 destroyed  5 changes  6 digests  7 reserved  8 quarantine  9 record
--       10 states  11.. buckets of terms
-- ARGV  1 SHA-1 of the damaged value  2 name and 3 bytes of what is put aside  4 identifier  5 digest (32 bytes)
--       6 proof (24 bytes; of any version)  7 body  8 state (a digit)  9 creation counter, or empty for a new one
--       10 entries from which a term may be common  11 stamp (head.lua)  then three lists, each with its length first: entries of changes (score  member), of live and destroyed (index in
--       KEYS  score  member), of terms ("-"  bucket  member, or "+" | "u"  bucket  hash: bucket is an index in KEYS)
-- →     {"committed", change number} | {"conflict", 0}: the value is another by now | {"notInitialised"}
--- include head
--- include blocks
--- include terms
--- include reserved
--- include digest
--- include header
local head, counters, live, changes, digests = KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[6]
if not is_store(head, ARGV[11]) then return { "notInitialised" } end
local value = redis.pcall("GET", KEYS[9])
if type(value) ~= "string" then value = "" end
if redis.sha1hex(value) ~= ARGV[1] then return { "conflict", 0 } end
local number, created = count(counters, "change") + 1, tonumber(ARGV[9])
local states = KEYS[10]
local highest_created = count(counters, "created")
if not created then
  highest_created = highest_created + 1
  created = highest_created
end
local id, tag, destroyed = ARGV[4], tag_of(ARGV[5]), ARGV[8] >= "5"
local index = destroyed and KEYS[4] or live

local next_arg = 11
local function list(fields)
  next_arg = next_arg + 1
  local rows = {}
  for i = 1, tonumber(ARGV[next_arg]) do
    rows[i] = {}
    for field = 1, fields do rows[i][field] = ARGV[next_arg + field] end
    next_arg = next_arg + fields
  end
  return rows
end
local old_changes, old_places, terms = list(2), list(3), list(3)

check_block(changes, number)
check_block(index, created)
for _, entry in ipairs(old_changes) do check_block(changes, tonumber(entry[1])) end
for _, entry in ipairs(old_places) do check_block(KEYS[tonumber(entry[1])], tonumber(entry[2])) end
for _, term in ipairs(terms) do redis.call("ZCARD", KEYS[tonumber(term[2])]) end
redis.call("STRLEN", digests)
redis.call("HLEN", KEYS[8])
local held = redis.call("HEXISTS", KEYS[7], id) == 1

redis.call("HSET", KEYS[8], ARGV[2], ARGV[3])
-- What the damaged record was counted as is not known any more: all of the partition are counted anew.
redis.pcall("HDEL", states, "=", "@")
for _, entry in ipairs(old_changes) do
  drop(changes, tonumber(entry[1]), entry[2])
  digest(digests, id, string.sub(entry[2], 17, 32), "")
end
for _, entry in ipairs(old_places) do drop(KEYS[tonumber(entry[1])], tonumber(entry[2]), entry[3]) end
put(changes, number, id .. tag .. ARGV[8])
put(index, created, id)
digest(digests, id, "", tag)
local numbers = { number, created, number + (held and reserved_mark or 0) }
redis.call("SET", KEYS[9], record_of(ARGV[5], numbers, ARGV[6], ARGV[7]))
for _, term in ipairs(terms) do
  local bucket = KEYS[tonumber(term[2])]
  if term[1] == "-" then redis.call("ZREM", bucket, term[3])
  else add_term(bucket, term[3], destroyed, created, term[1] == "u", tonumber(ARGV[10]), live) end
end
redis.call(
  "HSET", counters, "change", string.format("%d", number), "promised", string.format("%d", number), "created",
  string.format("%d", highest_created)
)
return { "committed", number }
