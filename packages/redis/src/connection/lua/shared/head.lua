-- head: 16 bytes store id, 6 bytes covered change number, 2 bytes least number of a storage key with which scripts still write.
-- The initialisation marker of a partition.
local function initialised(key)
  return redis.call("STRLEN", key) == 24
end

-- The head, or false where there is none.
local function head_of(key)
  local head = redis.call("GET", key)
  return head and #head == 24 and head
end

-- Whether this is the store that the caller means, and not another one in its place; and whether it still takes what was made
-- with the storage key that the caller used, where the stamp names one: store id (16 bytes), and the key's number (2).
local function is_store(key, stamp)
  if not initialised(key) or redis.call("GETRANGE", key, 0, 15) ~= string.sub(stamp, 1, 16) then return false end
  return #stamp == 16 or struct.unpack(">I2", stamp, 17) >= struct.unpack(">I2", redis.call("GETRANGE", key, 22, 23))
end

local function number_in(field, value)
  if not value then return 0 end
  local number = tonumber(value)
  if not number then error("counter " .. field .. " is not a number") end
  return number
end

local function count(counters, field)
  return number_in(field, redis.call("HGET", counters, field))
end

local function two_counts(counters, one, other)
  local values = redis.call("HMGET", counters, one, other)
  return number_in(one, values[1]), number_in(other, values[2])
end
