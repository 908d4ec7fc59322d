-- digests: 256 × 16 bytes, each the XOR of the tags of all records whose identifier begins with that byte.
local function digest(digests, id, before, after)
  local at = string.byte(id, 1) * 16
  local words = { 0, 0, 0, 0 }
  for _, tag in ipairs({ redis.call("GETRANGE", digests, at, at + 15), before, after }) do
    if #tag == 16 then
      local a, b, c, d = struct.unpack(">I4I4I4I4", tag)
      words = { bit.bxor(words[1], a), bit.bxor(words[2], b), bit.bxor(words[3], c), bit.bxor(words[4], d) }
    end
  end
  redis.call("SETRANGE", digests, at, struct.pack(">i4i4i4i4", words[1], words[2], words[3], words[4]))
end
