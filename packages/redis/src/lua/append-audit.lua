#!lua
-- append-audit.lua  Audit events without a change.
-- KEYS  1 head  2 counters  3 audit
-- ARGV  1 entries kept  2 instance  3 events, one a line
-- →     {"committed", change number} | {"notInitialised"}
--- include head
--- include audit
if not initialised(KEYS[1]) then return { "notInitialised" } end
local events = {}
for event in string.gmatch(ARGV[3], "[^\n]+") do events[#events + 1] = event end
append_audit(KEYS[3], KEYS[2], ARGV[1], ARGV[2], events)
return { "committed", count(KEYS[2], "change") }
