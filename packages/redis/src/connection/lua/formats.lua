#!lua flags=allow-oom
-- formats.lua  Notes which format of records a node reads, and answers which ones all of the region's nodes read. Where the store
--              does not say, or not with a proof, what is required of a node, it is what the node reads that reads least.
-- KEYS  1 head (of {sys})  2 formats
-- ARGV  1 node  2 the newest format that it reads and writes  3 milliseconds after which a silent node counts no more
--       4 proof of that format as the required one  5 the required format as read that counts as absent, since it did not
--       prove itself, or empty  6 step of the storage keys that the node follows
-- →     {"committed", 0, the format that is required or "0", its proof or "", the newest that every node reads} | {"notInitialised"}
--- include head
--- include formats
--- include proven
if not initialised(KEYS[1]) then return { "notInitialised" } end
redis.call("HSET", KEYS[2], "n:" .. ARGV[1], ARGV[2] .. " " .. now_ms() .. " " .. ARGV[6])
local common, silent = common_format(KEYS[2], tonumber(ARGV[3]))
for _, node in ipairs(silent) do redis.call("HDEL", KEYS[2], node) end
if not proven_or_nil(KEYS[2], "required", ARGV[5]) and common == tonumber(ARGV[2]) then
  set_proven(KEYS[2], "required", ARGV[2], ARGV[4])
end
local required = redis.call("HMGET", KEYS[2], "required", "requiredProof")
return { "committed", 0, required[1] or "0", required[2] or "", common }
