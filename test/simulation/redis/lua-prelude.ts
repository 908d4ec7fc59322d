/**
 * What Redis gives to a script, over the functions of the machine. Answers the table of globals, the environment of
 * every script, and Redis' own error handler.
 */
export const prelude = `
local missing, frozen = ...
local getinfo, floor, ceil, gsub = debug.getinfo, math.floor, math.ceil, string.gsub

-- A number is cut to a whole one and written in full. In WASM, a C long has 32 bits, so "%d" is wrong from 2^31 on.
local plain, pieces = string.format, {}
local function whole(number)
  return (number >= 0 and floor(number) or ceil(number)) + 0
end
function string.format(pattern, ...)
  if pattern == "%d" and type(...) == "number" then return plain("%.0f", whole((...))) end
  if type(pattern) ~= "string" then return plain(pattern, ...) end
  local values, at = { ... }, 0
  local mended = gsub(pattern, "%%([-+ #0]*%d*%.?%d*)([%a%%])", function(flags, kind)
    if kind == "%" then return nil end
    at = at + 1
    local number = tonumber(values[at])
    if (kind ~= "d" and kind ~= "i") or not number then return nil end
    values[at] = whole(number)
    return "%" .. gsub(flags, "%.%d*", "") .. ".0f"
  end)
  return plain(mended, unpack(values, 1, select("#", ...)))
end

local function readonly(table)
  return setmetatable({}, { __index = table, __newindex = frozen, __metatable = false })
end

local math = {}
for name, value in pairs(_G.math) do
  if name ~= "random" and name ~= "randomseed" then math[name] = value end
end

local globals = setmetatable({
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = pcall, rawequal = rawequal,
  rawget = rawget, select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
  xpcall = xpcall, string = readonly(string), table = readonly(table), math = readonly(math),
  struct = readonly({ pack = struct_pack, unpack = struct_unpack }),
  bit = readonly({ bxor = bit_bxor }),
  redis = readonly({ call = redis_call, pcall = redis_pcall, sha1hex = redis_sha1hex }),
}, { __index = missing })

local function handler(err)
  local i = getinfo(2, "nSl")
  if i and i.what == "C" then i = getinfo(3, "nSl") end
  if type(err) ~= "table" then err = { err = "ERR " .. tostring(err) } end
  if i then
    err.source = i.source
    err.line = i.currentline
  end
  return err
end

return globals, readonly(globals), handler
`;
