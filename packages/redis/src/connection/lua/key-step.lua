#!lua flags=allow-oom
-- key-step.lua  Makes the next step of a rotation of the storage key, once every node that was heard lately follows the last one.
-- KEYS  1 head (of {sys})  2 formats  3 keys  4.. the heads that no longer take what was made with an older key
-- ARGV  1 stamp (head.lua)  2 note as read  3 new note, or the same  4 step that every node must follow  5 milliseconds after
--       which a silent node counts no more  6 number of a new key, or empty  7 its entry as read (empty for none)  8 its entry
-- →     {"committed", 0} | {"conflict", 0}: note or entry is another by now | {"behind", 0}: a node does not
--       follow it yet | {"notInitialised"}
--- include head
--- include formats
if not is_store(KEYS[1], ARGV[1]) then return { "notInitialised" } end
if (redis.call("HGET", KEYS[3], "note") or "") ~= ARGV[2] then return { "conflict", 0 } end
if ARGV[6] ~= "" and (redis.call("HGET", KEYS[3], ARGV[6]) or "") ~= ARGV[7] then return { "conflict", 0 } end
local _, _, step = common_format(KEYS[2], tonumber(ARGV[5]))
if step < tonumber(ARGV[4]) then return { "behind", 0 } end
for i = 4, #KEYS do
  if not initialised(KEYS[i]) then return { "notInitialised" } end
end
redis.call("HSET", KEYS[3], "note", ARGV[3])
if ARGV[6] ~= "" then redis.call("HSET", KEYS[3], ARGV[6], ARGV[8]) end
for i = 4, #KEYS do redis.call("SETRANGE", KEYS[i], 22, string.sub(ARGV[1], 17, 18)) end
return { "committed", 0 }
