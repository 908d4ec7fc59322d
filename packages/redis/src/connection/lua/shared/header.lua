-- header: what precedes a record's body: digest (32 bytes, the tag is its first 16), promised change number, creation
-- counter, change number (6 each), then the proof: version (5), facts (1), number of the storage key (2), MAC (16). Nodes
-- make digest and proof; the three numbers are the store's own.
local header_length = 74

-- The header of a record; shorter where the record is cut short, and empty where there is none.
local function header_of(key)
  return redis.call("GETRANGE", key, 0, header_length - 1)
end

local function tag_of(header)
  return string.sub(header, 1, 16)
end

local function numbers_of(header)
  return struct.unpack(">I6I6I6", header, 33)
end

-- Whether a proof's version is above the one in a header.
local function is_above(proof, header)
  return struct.unpack(">I5", proof) > struct.unpack(">I5", header, 51)
end

local function record_of(digest, numbers, proof, body)
  return digest .. struct.pack(">I6I6I6", numbers[1], numbers[2], numbers[3]) .. proof .. body
end
