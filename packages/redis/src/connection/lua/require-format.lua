#!lua flags=allow-oom
-- require-format.lua  Requires a format of every node, if every one reads it; never goes back.
-- KEYS  1 head (of {sys})  2 epoch  3 formats
-- ARGV  1 epoch  2 stamp (head.lua)  3 format  4 its proof  5 the format as read that counts as absent, since it did not
--       prove itself, or empty  6 milliseconds after which a silent node counts no more
-- →     {"committed", 0} | {"conflict", 0}: a node does not read it | {"deposed", 0} | {"notInitialised"}
--- include head
--- include epoch
--- include formats
--- include proven
if not is_store(KEYS[1], ARGV[2]) then return { "notInitialised" } end
if is_deposed(KEYS[2], ARGV[1]) then return { "deposed", 0 } end
if common_format(KEYS[3], tonumber(ARGV[6])) < tonumber(ARGV[3]) then return { "conflict", 0 } end
see_epoch(KEYS[2], ARGV[1])
local required = proven_or_nil(KEYS[3], "required", ARGV[5]) or 0
if tonumber(ARGV[3]) > required then set_proven(KEYS[3], "required", ARGV[3], ARGV[4]) end
return { "committed", 0 }
