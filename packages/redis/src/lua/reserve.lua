#!lua
-- reserve.lua  Gives records to an agreed operation: all of them, or none.
-- KEYS  1 head  2 reserved
-- ARGV  1 milliseconds since the epoch  2 operation  3 instance  4 prefix of records  5.. identifiers
-- →     {"committed", 0} | {"held", 0, index of the identifier, operation that holds it} | {"tooMany", 0}: every end of
--       an operation walks through all | {"notInitialised"}
--- include head
--- include reserved
if not initialised(KEYS[1]) then return { "notInitialised" } end
local operation, records = ARGV[2], ARGV[4]
if redis.call("HLEN", KEYS[2]) + #ARGV - 4 > 20000 then return { "tooMany", 0 } end
for i = 5, #ARGV do
  local holder = holder_of(KEYS[2], ARGV[i])
  if holder and holder ~= operation then return { "held", 0, i - 4, holder } end
  check_mark(records .. ARGV[i])
end
local hold = struct.pack(">I6I2", tonumber(ARGV[1]), #operation) .. operation .. ARGV[3]
for i = 5, #ARGV do
  redis.call("HSET", KEYS[2], ARGV[i], hold)
  set_mark(records .. ARGV[i], true)
end
return { "committed", 0 }
