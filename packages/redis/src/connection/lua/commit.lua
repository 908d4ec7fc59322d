#!lua
-- commit.lua  All changes of one commit, or none, with their audit events.
-- KEYS  1 head  2 counters  3 status  4 live  5 destroyed  6 changes  7 digests  8 audit  9 reserved
--       10 states  11 surplus  12 shares  13.. the record of each change, then buckets of terms
-- ARGV  1 audit entries kept  2 instance  3 entries from which a term may be common  4 which statuses refuse the commit
--       ("open": all but Installed, "deleted", "none")  5 operation that writes, or empty  6 prefix of records
--       7 stamp (head.lua), number of records that must be as given, then each: its key (index in KEYS) and tag
--       8 number of events, the events, number of changes, then each: kind (create | update | served)  identifier  tag
--       before (empty for create)  digest after (32 bytes, of which the first 16 are the tag)  proof (24 bytes)  body  state
--       before (a digit; empty for create)  state after  month (four digits)  number of terms, then each: what ("-" drop, "+" add, "u" add as one that is kept however many have it, "n" add so and
--       claim, "c" keep: nobody else may claim it)  bucket (index in KEYS)  hash
-- →     {"committed", change number} | {"conflict", change number, index of the change} | {"nameTaken", change number,
--       index of the change, hash} | {"superseded", change number} | {"reserved", change number, index of the change, operation} | {"reservationLost",
--       change number, index of the change} | {"instanceClosed", change number} | {"notInitialised"}
-- Header of a record: header.lua. A version that is not above the stored one is a conflict.
--- include head
--- include blocks
--- include audit
--- include terms
--- include reserved
--- include digest
--- include states
--- include given
--- include header
local head, counters, status, live, destroyed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local changes, digests, audit, reserved, states = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local instance, operation, records = ARGV[2], ARGV[5], ARGV[6]
if not is_store(head, ARGV[7]) then return { "notInitialised" } end
local number, promised = count(counters, "change"), count(counters, "promised")
local created = count(counters, "created")
local next_arg = 7
local function take()
  next_arg = next_arg + 1
  return ARGV[next_arg]
end
for _ = 1, tonumber(take()) do
  local record, tag = KEYS[tonumber(take())], take()
  if is_superseded(record, tag) then return { "superseded", number } end
end
local events = {}
for i = 1, tonumber(take()) do events[i] = take() end

local function closed()
  if ARGV[4] == "none" then return false end
  local is = redis.call("GET", status)
  if ARGV[4] == "open" then return is ~= "Installed" end
  return is == "Deleted"
end

local function parse(index)
  local change = {
    key = KEYS[12 + index], kind = take(), id = take(), before = take(), digest = take(), proof = take(),
    body = take(), was = take(), is = take(), month = take(), terms = {},
  }
  change.after = tag_of(change.digest)
  change.was_destroyed, change.is_destroyed = change.was >= "5", change.is >= "5"
  for i = 1, tonumber(take()) do
    change.terms[i] = { what = take(), bucket = KEYS[tonumber(take())], hash = take() }
  end
  return change
end

-- Everything that can fail is read first: a script that stops midway is not undone.
local function check(change)
  local header = header_of(change.key)
  if tag_of(header) ~= change.before then return false end
  if header ~= "" then
    if #header < header_length then return false end
    if change.after ~= change.before and not is_above(change.proof, header) then return false end
    change.promised, change.created, change.number = numbers_of(header)
    change.number = change.number % reserved_mark
    check_block(changes, change.number)
    check_block(live, change.created)
    check_block(destroyed, change.created)
  end
  for _, term in ipairs(change.terms) do redis.call("ZCARD", term.bucket) end
  return true
end

local list, seen, known = {}, {}, {}
local amount = tonumber(take())
local any_held = redis.call("HLEN", reserved) > 0
for i = 1, amount do list[i] = parse(i) end
if closed() then return { "instanceClosed", number } end
for i, change in ipairs(list) do
  local holder = any_held and holder_of(reserved, change.id)
  if holder and holder ~= operation then return { "reserved", number, i, holder } end
  if operation ~= "" and not holder and change.kind == "update" then return { "reservationLost", number, i } end
  if seen[change.id] or not check(change) then return { "conflict", number, i } end
  seen[change.id] = true
  if change.created then known[change.created] = true end
end

-- Names are decided on what the changes leave together: one may free what another takes. A join may leave two objects
-- with one name, and both keep it.
local claimed = {}
for i, change in ipairs(list) do
  for _, term in ipairs(change.terms) do
    local what, earlier = term.what, claimed[term.hash]
    if what == "n" or what == "c" then
      local taken = earlier == "n" or (what == "n" and earlier ~= nil)
      for _, holder in ipairs(what == "n" and holders(term.bucket, term.hash, false, nil, amount + 1) or {}) do
        taken = taken or not known[holder]
      end
      if taken then return { "nameTaken", number, i, term.hash } end
      claimed[term.hash] = what
    end
  end
end
local ended = operation == "" and {} or held_by(reserved, operation, instance)
for _, id in ipairs(ended) do check_mark(records .. id) end
for i = 1, amount do
  check_block(changes, number + i)
  check_block(live, created + i)
  check_block(destroyed, created + i)
end
redis.call("STRLEN", digests)

local function move(change)
  if change.kind == "create" then
    put(change.is_destroyed and destroyed or live, change.created, change.id)
  elseif change.was_destroyed ~= change.is_destroyed then
    drop(change.was_destroyed and destroyed or live, change.created, change.id)
    put(change.is_destroyed and destroyed or live, change.created, change.id)
  end
  for _, term in ipairs(change.terms) do
    if term.what == "-" then
      redis.call("ZREM", term.bucket, entry(term.hash, change.was_destroyed, change.created))
    end
  end
end

local recounted = recounted_to(states)
append_audit(audit, counters, KEYS[11], KEYS[12], ARGV[1], events)
if number == 0 and amount > 0 then redis.pcall("HSET", states, "=", "1") end
end_holds(reserved, ended, records)
for _, change in ipairs(list) do
  if change.after ~= change.before then
    number = number + 1
    if change.kind == "create" then
      created = created + 1
      change.created = created
    else
      drop(changes, change.number, change.id .. change.before .. change.was)
    end
    count_state(states, recounted, change.month .. instance, change.was, change.number, change.is)
    if change.kind ~= "served" then
      promised = number
      change.promised = number
    end
    put(changes, number, change.id .. change.after .. change.is)
    local numbers = { change.promised, change.created, number }
    redis.call("SET", change.key, record_of(change.digest, numbers, change.proof, change.body))
    digest(digests, change.id, change.before, change.after)
    move(change)
  end
end
-- Entries are added when all are dropped: one change may take the bucket's place of another.
for _, change in ipairs(list) do
  for _, term in ipairs(change.terms) do
    if change.after ~= change.before and term.what ~= "-" and term.what ~= "c" then
      add_term(
        term.bucket, term.hash, change.is_destroyed, change.created, term.what ~= "+", tonumber(ARGV[3]), live
      )
    end
  end
end
if amount > 0 then
  redis.call(
    "HSET", counters, "change", string.format("%d", number), "promised", string.format("%d", promised),
    "created", string.format("%d", created)
  )
end
return { "committed", number }
