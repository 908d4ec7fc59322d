-- head: 16 bytes store id, 6 bytes covered change number. The initialisation marker of a partition.
local function initialised(key)
  return redis.call("STRLEN", key) == 22
end

-- The head, or false where there is none.
local function head_of(key)
  local head = redis.call("GET", key)
  return head and #head == 22 and head
end

-- Whether this is the store that the caller means, and not another one in its place.
local function is_store(key, id)
  return initialised(key) and redis.call("GETRANGE", key, 0, 15) == id
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
