#!lua flags=allow-oom
-- reserve.lua  Gives records to an agreed operation: all of them, or none.
-- KEYS  1 head  2 reserved  3.. records that must be as given
-- ARGV  1 milliseconds since the epoch  2 operation  3 instance  4 prefix of records  5 store id (16 bytes)
--       6.. the tags of the records that must be as given, then identifiers
-- →     {"committed", 0} | {"superseded", 0} | {"held", 0, index of the identifier, operation that holds it} | {"tooMany", 0}: every end of
--       an operation walks through all | {"notInitialised"}
--- include head
--- include reserved
--- include given
if not is_store(KEYS[1], ARGV[5]) then return { "notInitialised" } end
local operation, records = ARGV[2], ARGV[4]
for i = 3, #KEYS do
  if is_superseded(KEYS[i], ARGV[3 + i]) then return { "superseded", 0 } end
end
local first = 4 + #KEYS
if redis.call("HLEN", KEYS[2]) + #ARGV - first + 1 > 20000 then return { "tooMany", 0 } end
for i = first, #ARGV do
  local holder = holder_of(KEYS[2], ARGV[i])
  if holder and holder ~= operation then return { "held", 0, i - first + 1, holder } end
  check_mark(records .. ARGV[i])
end
local hold = struct.pack(">I6I2", tonumber(ARGV[1]), #operation) .. operation .. ARGV[3]
for i = first, #ARGV do
  redis.call("HSET", KEYS[2], ARGV[i], hold)
  set_mark(records .. ARGV[i], true)
end
return { "committed", 0 }
