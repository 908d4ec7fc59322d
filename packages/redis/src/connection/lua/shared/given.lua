-- given: records on which a change rests. Each must have the tag that it had when the change was decided on; empty for none.
local function is_superseded(record, tag)
  return redis.call("GETRANGE", record, 0, 15) ~= tag
end
