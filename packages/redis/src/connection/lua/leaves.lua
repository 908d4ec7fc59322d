#!lua flags=no-writes,allow-oom
-- leaves.lua  Identifiers and tags of a partition whose first byte a mask asks for, in the order of their last change.
-- KEYS  1 head  2 changes
-- ARGV  1 after (change number)  2 mask (32 bytes)  3 most that are looked at
-- →     {"found", change number of the last that was looked at, head, whether more follow (0|1), for each: identifier,
--       tag and state (33 bytes)} | {"notInitialised"}
--- include head
--- include blocks
if not initialised(KEYS[1]) then return { "notInitialised" } end
local after, most, wanted = tonumber(ARGV[1]), tonumber(ARGV[3]), {}
for byte = 0, 255 do
  local bits = string.byte(ARGV[2], math.floor(byte / 8) + 1)
  wanted[byte] = math.floor(bits / 2 ^ (byte % 8)) % 2 == 1
end
local entries = lowest(KEYS[2], after, most + 1)
local leaves, up_to = {}, after
for i = 1, math.min(most, #entries) do
  local score, member = entries[i][1], entries[i][2]
  if wanted[string.byte(member, 1)] then leaves[#leaves + 1] = member end
  up_to = score
end
return { "found", up_to, redis.call("GET", KEYS[1]), #entries > most and 1 or 0, leaves }
