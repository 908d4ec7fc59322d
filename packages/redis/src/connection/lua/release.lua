#!lua flags=allow-oom
-- release.lua  Ends what an agreed operation holds in an instance; in a full memory too, since it frees some.
-- KEYS  1 head  2 epoch  3 reserved
-- ARGV  1 operation  2 instance  3 prefix of records  4 epoch of the leader that does it, or empty
-- →     {"committed", 0, how many there were} | {"deposed", 0} | {"notInitialised"}
--- include head
--- include epoch
--- include reserved
if not initialised(KEYS[1]) then return { "notInitialised" } end
if ARGV[4] ~= "" and is_deposed(KEYS[2], ARGV[4]) then return { "deposed", 0 } end
local ended = held_by(KEYS[3], ARGV[1], ARGV[2])
for _, id in ipairs(ended) do check_mark(ARGV[3] .. id) end
if ARGV[4] ~= "" then see_epoch(KEYS[2], ARGV[4]) end
end_holds(KEYS[3], ended, ARGV[3])
return { "committed", 0, #ended }
