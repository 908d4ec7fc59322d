-- terms: a bucket is a sorted set in which members of equal score lie in order of their bytes:
-- <hash> <0 live | 1 destroyed> <creation counter, 6 bytes>. A member that is a hash alone says that the term is too
-- common to narrow a walk, and is not kept up any more.
local function entry(hash, destroyed, created)
  return hash .. (destroyed and "\1" or "\0") .. struct.pack(">I6", created)
end

local function is_common(bucket, hash)
  return redis.call("ZSCORE", bucket, hash) ~= false
end

-- Creation counters of at most `most` objects with the term, newest first, below `before`.
local function holders(bucket, hash, destroyed, before, most)
  local flag = destroyed and "\1" or "\0"
  local below = before and "(" .. entry(hash, destroyed, before) or "(" .. hash .. (destroyed and "\2" or "\1")
  local members = redis.call(
    "ZRANGE", bucket, below, "[" .. hash .. flag, "BYLEX", "REV", "LIMIT", 0, most
  )
  local found = {}
  for _, member in ipairs(members) do
    if #member == #hash + 7 then
      found[#found + 1] = struct.unpack(">I6", member, #hash + 2)
    end
  end
  return found
end

-- Adds a term's entry; stops keeping a term that more than `common` and an eighth of all objects have.
local function add_term(bucket, hash, destroyed, created, unique, common, live)
  if not unique then
    if is_common(bucket, hash) then return end
    local many = redis.call("ZLEXCOUNT", bucket, "[" .. hash, "(" .. hash .. "\2")
    if many >= common and many >= redis.call("ZCARD", live) * 16 then
      redis.call("ZADD", bucket, 0, hash)
      return
    end
  end
  redis.call("ZADD", bucket, 0, entry(hash, destroyed, created))
end
