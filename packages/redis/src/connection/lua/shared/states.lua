-- states: hash of state (a digit), month of the Initial Date (four digits) and instance → how many such objects there
-- are. "=" is there once every record of the partition is counted. While they are counted anew, "@" is the change number
-- up to which they are, and "~" before such a field how many there are up to there.
local function add_state(states, field, by)
  -- A wrong count is found and corrected (recount.lua); it must not stop a script midway.
  if redis.pcall("HINCRBY", states, field, by) == 0 then redis.pcall("HDEL", states, field) end
end

-- A record was `was` (empty where it is new) at change number `number`, and is `is` at a later one.
local function count_state(states, recounted, of, was, number, is)
  if was ~= is then
    if was ~= "" then add_state(states, was .. of, -1) end
    add_state(states, is .. of, 1)
  end
  if was ~= "" and recounted and number <= recounted then add_state(states, "~" .. was .. of, -1) end
end

-- Up to where they are counted anew; nothing where they are not.
local function recounted_to(states)
  local at = redis.pcall("HGET", states, "@")
  return type(at) == "string" and tonumber(at)
end
