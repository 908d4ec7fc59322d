#!lua flags=allow-oom
-- note-covered.lua  Notes in each partition up to which change number a full barrier came back; never goes back.
-- KEYS  1.. heads
-- ARGV  1 store id (16 bytes)  2.. change numbers, one a head
-- →     {"committed", 0} | {"notInitialised"}
--- include head
for i, head in ipairs(KEYS) do
  if not is_store(head, ARGV[1]) then return { "notInitialised" } end
  local covered = struct.unpack(">I6", redis.call("GETRANGE", head, 16, 21))
  local number = tonumber(ARGV[i + 1])
  if number > covered then redis.call("SETRANGE", head, 16, struct.pack(">I6", number)) end
end
return { "committed", 0 }
