"""What happens to a stream in one step, each a script: one round trip, whole or not at all, the same on a cluster."""

from __future__ import annotations

# KEYS entries, counts, writer. ARGV: most entries, number of this append, events that the writer lost since the last
# one, then `to` and `body` of each event. Gives how many fitted; the rest is counted as dropped.
APPEND = """
local last = redis.call('GET', KEYS[3])
if last then
  local number, stored = string.match(last, '^(%d+) (%d+)$')
  if number == ARGV[2] then return tonumber(stored) end
end
local events = (#ARGV - 3) / 2
local stored = math.max(0, math.min(events, tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1])))
for n = 1, stored do
  redis.call('XADD', KEYS[1], '*', 'to', ARGV[2 + 2 * n], 'body', ARGV[3 + 2 * n])
end
if stored > 0 then redis.call('HINCRBY', KEYS[2], 'appended', stored) end
local lost = tonumber(ARGV[3]) + events - stored
if lost > 0 then redis.call('HINCRBY', KEYS[2], 'dropped', lost) end
redis.call('SET', KEYS[3], ARGV[2] .. ' ' .. stored, 'EX', 86400)
return stored
"""

# KEYS entries, counts, then the sets where the mark of each event is looked for and kept: `now` and `before`, the same
# one twice where marks stay for good. ARGV: most entries, then of each event: to, body, mark, seconds that the set
# `now` is kept (0: for good). An event whose mark is known is there already. Gives for each: 1 stored, 0 known, -1 no
# room; nothing is stored behind one that found no room, so that what is sent again keeps its order.
APPEND_NEW = """
local told, stored, known, room = {}, 0, 0, tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1])
for n = 1, (#ARGV - 1) / 4 do
  local at, now, before = 4 * n - 2, KEYS[1 + 2 * n], KEYS[2 + 2 * n]
  local mark, kept = ARGV[at + 2], tonumber(ARGV[at + 3])
  if redis.call('SISMEMBER', now, mark) == 1 or (before ~= now and redis.call('SISMEMBER', before, mark) == 1) then
    known = known + 1
    told[n] = 0
  elseif stored >= room then
    room = -1
    told[n] = -1
  else
    redis.call('SADD', now, mark)
    if kept > 0 then redis.call('EXPIRE', now, kept) end
    redis.call('XADD', KEYS[1], '*', 'to', ARGV[at], 'body', ARGV[at + 1])
    stored = stored + 1
    told[n] = 1
  end
end
if stored > 0 then redis.call('HINCRBY', KEYS[2], 'appended', stored) end
if known > 0 then redis.call('HINCRBY', KEYS[2], 'known', known) end
return told
"""

# Of the events in one answer, about: a larger one would hold up whoever reads it.
MOST_BYTES = 256 * 1024

# Entries for one answer. The last field of an entry is its event.
_KEEP = f"""
local found, bytes = {{}}, 0
local function room(count) return bytes < {MOST_BYTES} and math.min(8, count - #found) or 0 end
local function keep(rows)
  for _, row in ipairs(rows) do
    if row and row[2] then
      table.insert(found, row)
      bytes = bytes + #row[2][#row[2]]
    end
  end
end
"""

# KEYS entries. ARGV: group, consumer, how many, milliseconds after which others' events are taken over (0: not now),
# where to look for these. Gives the place to look at next, and the events.
TAKE = (
    _KEEP
    + """
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and string.find(reply.err, 'NOGROUP', 1, true) then
    redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
    reply = redis.pcall(...)
  end
  return reply
end
local count, place, turns = tonumber(ARGV[3]), ARGV[5], ARGV[4] == '0' and 0 or math.ceil(tonumber(ARGV[3]) / 8)
while turns > 0 and room(count) > 0 do
  local claimed = ask('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[4], place, 'COUNT', room(count))
  if claimed.err then return claimed end
  place = claimed[1]
  keep(claimed[2])
  turns = place == '0-0' and 0 or turns - 1
end
while room(count) > 0 do
  local fresh = ask('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', room(count), 'STREAMS', KEYS[1], '>')
  if fresh and fresh.err then return fresh end
  if not fresh then break end
  keep(fresh[1][2])
end
return {place, found}
"""
)

# KEYS entries, counts. ARGV: group, ids. Gives how many were still waiting: others were finished by somebody else.
FINISH = """
local finished = 0
for first = 2, #ARGV, 500 do
  local last = math.min(first + 499, #ARGV)
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, first, last))
  finished = finished + redis.call('XDEL', KEYS[1], unpack(ARGV, first, last))
end
if finished > 0 then redis.call('HINCRBY', KEYS[2], 'delivered', finished) end
return finished
"""

# KEYS entries, counts, dead. ARGV: group, most dead letters, reason, ids. Gives how many died, and how many older dead
# letters had to go for them.
BURY = """
local died = 0
for n = 4, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[n], ARGV[n])[1]
  if entry then
    redis.call('XADD', KEYS[3], '*', 'reason', ARGV[3], 'was', ARGV[n], unpack(entry[2]))
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[n])
    redis.call('XDEL', KEYS[1], ARGV[n])
    died = died + 1
  end
end
local gone = math.max(0, redis.call('XLEN', KEYS[3]) - tonumber(ARGV[2]))
if died > 0 then redis.call('HINCRBY', KEYS[2], 'dead', died) end
if gone > 0 then
  redis.call('XTRIM', KEYS[3], 'MAXLEN', ARGV[2])
  redis.call('HINCRBY', KEYS[2], 'dead_dropped', gone)
end
return {died, gone}
"""

# KEYS entries. ARGV: group, consumer, milliseconds, ids. These count as touched so long ago, as far as the consumer
# still has them. Consumers that are gone and have nothing in hand are forgotten. Gives how many it had.
TOUCH = """
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 100000, ARGV[2])
if held.err then return 0 end
local is_held, ids = {}, {}
for _, row in ipairs(held) do is_held[row[1]] = true end
for n = 4, #ARGV do if is_held[ARGV[n]] then table.insert(ids, ARGV[n]) end end
for first = 1, #ids, 500 do
  local some = {unpack(ids, first, math.min(first + 499, #ids))}
  table.insert(some, 'IDLE')
  table.insert(some, ARGV[3])
  table.insert(some, 'JUSTID')
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(some))
end
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local about = {}
  for n = 1, #row, 2 do about[row[n]] = row[n + 1] end
  if about.pending == 0 and about.idle > 600000 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about.name)
  end
end
return #ids
"""

# KEYS entries. ARGV: group, consumer. A consumer that has nothing in hand is forgotten.
LEAVE = """
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if not held.err and #held == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
"""

# KEYS entries, counts, dead. ARGV: group.
STATUS = """
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
return {
  redis.call('XLEN', KEYS[1]), redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1), pending.err and 0 or pending[1],
  redis.call('XLEN', KEYS[3]), redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1), redis.call('HGETALL', KEYS[2])
}
"""

# KEYS entries, counts, dead. ARGV: what to do with the dead letters (count, retry, purge), most entries, the reason to
# look for or nothing, the ids to begin and to end at, how many to look at. Gives how many were looked at, where to go
# on or nothing, whether the stream is full, and reasons with their numbers.
WALK_DEAD = """
local act, most, wanted = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local rows = redis.call('XRANGE', KEYS[3], ARGV[4], ARGV[5], 'COUNT', ARGV[6])
local numbers, looked, full, next_id = {}, 0, 0, ''
for _, row in ipairs(rows) do
  local about = {}
  for n = 1, #row[2], 2 do about[row[2][n]] = row[2][n + 1] end
  if wanted == '' or about.reason == wanted then
    if act == 'retry' and redis.call('XLEN', KEYS[1]) >= most then full = 1 break end
    if act == 'retry' then redis.call('XADD', KEYS[1], '*', 'to', about.to, 'body', about.body) end
    if act ~= 'count' then redis.call('XDEL', KEYS[3], row[1]) end
    numbers[about.reason] = (numbers[about.reason] or 0) + 1
  end
  looked = looked + 1
  next_id = '(' .. row[1]
end
if looked < tonumber(ARGV[6]) then next_id = '' end
local told, total = {}, 0
for reason, number in pairs(numbers) do
  table.insert(told, reason)
  table.insert(told, number)
  total = total + number
end
if act == 'retry' and total > 0 then redis.call('HINCRBY', KEYS[2], 'retried_dead', total) end
if act == 'purge' and total > 0 then redis.call('HINCRBY', KEYS[2], 'purged', total) end
return {looked, next_id, full, told}
"""

# KEYS of any stream. ARGV: the id to begin at, how many. Gives entries, none behind the last one.
LOOK = (
    _KEEP
    + """
local count, place = tonumber(ARGV[2]), ARGV[1]
while room(count) > 0 do
  local rows = redis.call('XRANGE', KEYS[1], place, '+', 'COUNT', room(count))
  if #rows == 0 then break end
  keep(rows)
  place = '(' .. rows[#rows][1]
end
return found
"""
)

# KEYS entries. ARGV: ids. Gives for each whether it is there.
PRESENT = """
local told = {}
for n = 1, #ARGV do told[n] = #redis.call('XRANGE', KEYS[1], ARGV[n], ARGV[n]) end
return told
"""

# KEYS entries, counts. ARGV: how many at most. Takes the oldest events away; gives how many.
TRIM = """
local length = redis.call('XLEN', KEYS[1])
local gone = redis.call('XTRIM', KEYS[1], 'MAXLEN', math.max(0, length - tonumber(ARGV[1])))
if gone > 0 then redis.call('HINCRBY', KEYS[2], 'purged', gone) end
return gone
"""
