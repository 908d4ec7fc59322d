-- reserved: hash of identifier → milliseconds since the epoch (6 bytes), length of the operation's name (2), that name,
-- the instance. A record that lies under a reserved identifier has the highest bit of its change number set.
local reserved_mark = 2 ^ 47

local function read_hold(value)
  local length = struct.unpack(">I2", value, 7)
  return string.sub(value, 9, 8 + length), string.sub(value, 9 + length)
end

local function holder_of(reserved, id)
  local value = redis.call("HGET", reserved, id)
  return value and read_hold(value)
end

-- Reads what set_mark would meet, so that a wrong type fails before the first write.
local function check_mark(record)
  redis.call("STRLEN", record)
end

-- Whether a record's own bytes say that it is reserved.
local function is_marked(value)
  return (string.byte(value, 45) or 0) >= 128
end

local function set_mark(record, on)
  if redis.call("STRLEN", record) < 74 then return end
  local byte = string.byte(redis.call("GETRANGE", record, 44, 44))
  local marked = byte >= 128
  if marked ~= on then redis.call("SETRANGE", record, 44, string.char(on and byte + 128 or byte - 128)) end
end

-- The identifiers that an operation holds in an instance.
local function held_by(reserved, operation, instance)
  local all, found = redis.call("HGETALL", reserved), {}
  for i = 1, #all, 2 do
    local holder, of = read_hold(all[i + 1])
    if holder == operation and of == instance then found[#found + 1] = all[i] end
  end
  return found
end

local function end_holds(reserved, ids, records)
  for _, id in ipairs(ids) do
    redis.call("HDEL", reserved, id)
    set_mark(records .. id, false)
  end
end
