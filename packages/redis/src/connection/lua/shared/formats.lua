-- formats: hash of "required" → the format of records that is written and every node must read, "requiredProof" → its proof;
-- "n:" and a node → the newest format that it reads and writes, when it said so last (milliseconds of Redis), and the step of
-- the storage keys that it follows. The
-- numbers count the formats of headers too (formats.ts).
local function now_ms()
  local time = redis.call("TIME")
  return string.format("%d", time[1] * 1000 + math.floor(time[2] / 1000))
end

-- The newest format that every node reads that was heard lately, the fields of those that were not, and the lowest step of the
-- storage keys that the former follow.
local function common_format(formats, silent_ms)
  local all, now, common, silent, step = redis.call("HGETALL", formats), tonumber(now_ms()), nil, {}, nil
  for i = 1, #all, 2 do
    local format, heard, follows = string.match(all[i + 1], "^(%d+) (%d+) (%d+)$")
    if string.sub(all[i], 1, 2) == "n:" and format then
      if now - tonumber(heard) > silent_ms then silent[#silent + 1] = all[i]
      else
        common = math.min(common or tonumber(format), tonumber(format))
        step = math.min(step or tonumber(follows), tonumber(follows))
      end
    end
  end
  return common or 0, silent, step or 0
end
