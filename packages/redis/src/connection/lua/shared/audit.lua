-- audit: a stream whose entries' ids are their sequence numbers, which have no gaps: <number>-0 e <entry>.
local function gone_to(counters) return math.max(two_counts(counters, "auditDropped", "auditBase")) end

-- About `kept` entries stay: what is beyond is given up at a multiple of 256, where the leader keeps a point of its
-- chain. Returns how many numbers went.
local function append_entries(stream, counters, kept, entries)
  local before, gone = count(counters, "audit"), gone_to(counters)
  local number = before
  for _, entry in ipairs(entries) do
    number = number + 1
    redis.call("XADD", stream, string.format("%d-0", number), "e", entry)
  end
  redis.call("HSET", counters, "audit", string.format("%d", number))
  local blocks = math.floor(number / 256)
  if not kept or blocks == math.floor(before / 256) then return 0 end
  -- At most so many at once, since all other clients wait meanwhile.
  local up_to = math.min((blocks - math.ceil(tonumber(kept) / 256)) * 256, (math.floor(gone / 256) + 16) * 256)
  if up_to <= gone then return 0 end
  redis.call("HSET", counters, "auditDropped", string.format("%d", up_to))
  redis.call("XTRIM", stream, "MINID", string.format("%d-0", up_to + 1))
  return up_to - gone
end

-- The instance of an entry, as its bytes have it: a word of two bytes, a UUID, or a short text.
local function owner_of(entry)
  local kind = string.byte(entry, 9) or 0
  if kind == 0xf2 then return string.sub(entry, 9, 10) end
  if kind == 0xf0 then return string.sub(entry, 9, 25) end
  return string.sub(entry, 9, 9 + math.min(kind, 64))
end

local function held_in(shares, owner) return tonumber(redis.call("HGET", shares, owner) or 0) or 0 end

local function set_held(shares, owner, amount)
  if amount > 0 then
    redis.call("HSET", shares, owner, string.format("%d", amount))
  else
    redis.call("HDEL", shares, owner)
  end
end

-- Beside others, an instance has at most a quarter of `kept` in its partition's trail. Its further entries go to the
-- surplus, so it pushes out nobody's but its own and those of others that have more than their share. Where all entries
-- are of one instance, that trail is bounded as the surplus is.
-- The first write of a script, so that any fault of a key stops it before another write.
local function append_audit(stream, counters, surplus, shares, kept, entries)
  if #entries == 0 then return end
  local total = count(counters, "audit") - gone_to(counters)
  local share, beyond, own, held = math.ceil(tonumber(kept) / 4), {}, {}, {}
  local owners, last = 0, nil
  for _, entry in ipairs(entries) do
    local owner = owner_of(entry)
    -- Entries that somebody deleted in Redis are still counted: nobody has more than all.
    local has = held[owner] or math.min(held_in(shares, owner), total)
    if has >= share and has < total then
      beyond[#beyond + 1] = entry
    else
      own[#own + 1] = entry
      if not held[owner] then owners, last = owners + 1, owner end
      held[owner], total = has + 1, total + 1
    end
  end
  -- A fault of the surplus must stop the script before its first write.
  if #beyond > 0 then
    redis.call("XRANGE", surplus, "+", "+", "COUNT", 1)
    count(shares, "audit")
    gone_to(shares)
  end
  if #own > 0 then
    local is_alone = owners == 1 and held[last] == total
    local gone = append_entries(stream, counters, is_alone and kept, own)
    for owner, amount in pairs(held) do set_held(shares, owner, amount - gone) end
  end
  if #beyond > 0 then append_entries(surplus, shares, kept, beyond) end
end
