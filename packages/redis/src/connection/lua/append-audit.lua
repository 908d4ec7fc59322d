#!lua
-- append-audit.lua  Audit entries without a change.
-- KEYS  1 head  2 counters  3 audit  4 surplus  5 shares
-- ARGV  1 entries kept  2 entries, each its length (2 bytes) and its bytes
-- →     {"committed", change number} | {"notInitialised"}
--- include head
--- include audit
if not initialised(KEYS[1]) then return { "notInitialised" } end
local entries, at = {}, 1
while at < #ARGV[2] do
  local length = struct.unpack(">I2", ARGV[2], at)
  entries[#entries + 1] = string.sub(ARGV[2], at + 2, at + 1 + length)
  at = at + 2 + length
end
append_audit(KEYS[3], KEYS[2], KEYS[4], KEYS[5], ARGV[1], entries)
return { "committed", count(KEYS[2], "change") }
