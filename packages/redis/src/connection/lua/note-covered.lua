#!lua flags=allow-oom
-- note-covered.lua  Notes in each partition up to which change number a full barrier came back; never goes back.
-- KEYS  1.. heads
-- ARGV  1.. change numbers, one a head
-- →     {"committed", 0}
--- include head
for i, head in ipairs(KEYS) do
  if initialised(head) then
    local covered = struct.unpack(">I6", redis.call("GETRANGE", head, 16, 21))
    local number = tonumber(ARGV[i])
    if number > covered then redis.call("SETRANGE", head, 16, struct.pack(">I6", number)) end
  end
end
return { "committed", 0 }
