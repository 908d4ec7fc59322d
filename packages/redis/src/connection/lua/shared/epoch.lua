-- epoch: the highest epoch of a leader that the store has seen. A leader of a lower one writes nothing any more.
local function is_deposed(key, epoch)
  return tonumber(redis.call("GET", key) or "0") > tonumber(epoch)
end

local function see_epoch(key, epoch)
  if tonumber(redis.call("GET", key) or "0") < tonumber(epoch) then redis.call("SET", key, epoch) end
end
