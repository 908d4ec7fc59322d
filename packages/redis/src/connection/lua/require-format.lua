#!lua flags=allow-oom
-- require-format.lua  Requires a format of every node, if every one reads it; never goes back.
-- KEYS  1 head (of {sys})  2 epoch  3 formats
-- ARGV  1 epoch  2 format  3 milliseconds after which a silent node counts no more
-- →     {"committed", 0} | {"conflict", 0}: a node does not read it | {"deposed", 0} | {"notInitialised"}
--- include head
--- include epoch
--- include formats
if not initialised(KEYS[1]) then return { "notInitialised" } end
if is_deposed(KEYS[2], ARGV[1]) then return { "deposed", 0 } end
if common_format(KEYS[3], tonumber(ARGV[3])) < tonumber(ARGV[2]) then return { "conflict", 0 } end
see_epoch(KEYS[2], ARGV[1])
local required = tonumber(redis.call("HGET", KEYS[3], "required") or "0")
if tonumber(ARGV[2]) > required then redis.call("HSET", KEYS[3], "required", ARGV[2]) end
return { "committed", 0 }
