#!lua flags=allow-oom
-- formats.lua  Notes which format of records a node reads, and answers which ones all of the region's nodes read. What is required
--              of a node in a store that does not say it yet is what the first one reads.
-- KEYS  1 head (of {sys})  2 formats
-- ARGV  1 node  2 the newest format that it reads and writes  3 milliseconds after which a silent node counts no more
-- →     {"committed", 0, the format that is required, the newest that every node reads} | {"notInitialised"}
--- include head
--- include formats
if not initialised(KEYS[1]) then return { "notInitialised" } end
redis.call("HSET", KEYS[2], "n:" .. ARGV[1], ARGV[2] .. " " .. now_ms())
local common, silent = common_format(KEYS[2], tonumber(ARGV[3]))
for _, node in ipairs(silent) do redis.call("HDEL", KEYS[2], node) end
redis.call("HSETNX", KEYS[2], "required", ARGV[2])
return { "committed", 0, redis.call("HGET", KEYS[2], "required"), common }
