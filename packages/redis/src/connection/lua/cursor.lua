#!lua flags=no-writes,allow-oom
-- cursor.lua  Up to where another region's changes of a partition were read.
-- KEYS  1 head  2 cursors
-- ARGV  1 region
-- →     {"found", 0, head, cursor with its proof, or ""} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
return { "found", 0, redis.call("GET", KEYS[1]), redis.call("HGET", KEYS[2], ARGV[1]) or "" }
