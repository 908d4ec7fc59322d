-- proven: a number in a hash, and beside it, in a field of its own, the proof that a node of this store wrote it there. A
-- number that the caller has read without a proof (`unproven`) counts as absent.
local function proven_or_nil(hash, field, unproven)
  local stored = redis.call("HGET", hash, field)
  return stored and stored ~= unproven and tonumber(stored) or nil
end

local function set_proven(hash, field, number, proof)
  redis.call("HSET", hash, field, number, field .. "Proof", proof)
end
