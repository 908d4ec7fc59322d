#!lua flags=allow-oom
-- remac.lua  Gives records a proof by another storage key, where they still have the one that was read. No other node notices:
--            tag, version and the numbers of the store stay.
-- KEYS  1 head (of {sys})  2.. records
-- ARGV  1 stamp (head.lua), then for each record: digest (32 bytes) and proof (24 bytes) as read  new proof  body, or empty where
--       it stays
-- →     {"committed", 0, how many records it changed} | {"notInitialised"}
--- include head
--- include header
if not is_store(KEYS[1], ARGV[1]) then return { "notInitialised" } end
local changed = 0
for i = 2, #KEYS do
  local at = 4 * i - 6
  local header = redis.pcall("GETRANGE", KEYS[i], 0, header_length - 1)
  local is_same = type(header) == "string" and string.sub(header, 1, 32) == ARGV[at]
    and string.sub(header, 51) == ARGV[at + 1]
  if is_same then
    if ARGV[at + 3] == "" then redis.call("SETRANGE", KEYS[i], 50, ARGV[at + 2])
    else redis.call("SET", KEYS[i], string.sub(header, 1, 50) .. ARGV[at + 2] .. ARGV[at + 3]) end
    changed = changed + 1
  end
end
return { "committed", 0, changed }
