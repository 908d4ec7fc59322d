#!lua flags=allow-oom
-- claim.lua  Notes whose region's store this is, unless it is noted already; it never changes.
-- KEYS  1 head (of {sys})  2 region
-- ARGV  1 region
-- →     {"committed", 0, the region whose store it is} | {"notInitialised"}
--- include head
if not initialised(KEYS[1]) then return { "notInitialised" } end
local region = redis.call("GET", KEYS[2])
if not region then
  region = ARGV[1]
  redis.call("SET", KEYS[2], region)
end
return { "committed", 0, region }
