-- blocks: a large sorted set with unique scores, kept as many small ones (128 scores each, which Redis packs) under
-- <base>:<score / 128>, and <base> itself, a sorted set of the numbers of those that are not empty.
local function block_of(score)
  return math.floor(score / 128)
end

local function block_key(base, block)
  return base .. ":" .. string.format("%d", block)
end

-- Reads what put and drop would write, so that a wrong type fails before the first write.
local function check_block(base, score)
  redis.call("ZCARD", base)
  redis.call("ZCARD", block_key(base, block_of(score)))
end

local function put(base, score, member)
  local block = block_of(score)
  local key = block_key(base, block)
  redis.call("ZADD", key, score, member)
  if redis.call("ZCARD", key) == 1 then redis.call("ZADD", base, block, block) end
end

local function drop(base, score, member)
  local block = block_of(score)
  local key = block_key(base, block)
  redis.call("ZREM", key, member)
  if redis.call("EXISTS", key) == 0 then redis.call("ZREM", base, block) end
end

-- At most `most` {score, member}, highest score first, below `before`.
local function highest(base, before, most)
  local found = {}
  local below = before and "(" .. string.format("%d", before) or "+inf"
  local last = before and string.format("%d", block_of(before)) or "+inf"
  local blocks = redis.call("ZREVRANGEBYSCORE", base, last, "-inf", "LIMIT", 0, most + 1)
  for _, block in ipairs(blocks) do
    local entries = redis.call(
      "ZREVRANGEBYSCORE", base .. ":" .. block, below, "-inf", "WITHSCORES", "LIMIT", 0, most - #found
    )
    for i = 1, #entries, 2 do found[#found + 1] = { tonumber(entries[i + 1]), entries[i] } end
    if #found == most then break end
  end
  return found
end

-- At most `most` {score, member}, lowest score first, above `after`.
local function lowest(base, after, most)
  local found = {}
  local above = "(" .. string.format("%d", after)
  local first = string.format("%d", block_of(after))
  local blocks = redis.call("ZRANGEBYSCORE", base, first, "+inf", "LIMIT", 0, most + 1)
  for _, block in ipairs(blocks) do
    local entries = redis.call(
      "ZRANGEBYSCORE", base .. ":" .. block, above, "+inf", "WITHSCORES", "LIMIT", 0, most - #found
    )
    for i = 1, #entries, 2 do found[#found + 1] = { tonumber(entries[i + 1]), entries[i] } end
    if #found == most then break end
  end
  return found
end
