-- One more place for a subject. KEYS[1]: its places, `<since>:<connection>`, scored with the time until which each is held.
-- ARGV: the connection, how long a place is held (ms), how many there may be, whether the oldest make room (1 or 0).
-- Replies `full`; or `taken`, the new member, and the connections that have to end.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local over = redis.call('ZCARD', KEYS[1]) - ARGV[3] + 1
local reply = { 'taken' }
if over > 0 and ARGV[4] == '0' then
  return { 'full' }
end
-- Microseconds, in as many digits each: members in the order of their texts are in that of their age.
local member = string.format('%017.0f:%s', time[1] * 1000000 + time[2], ARGV[1])
reply[2] = member
if over > 0 then
  local members = redis.call('ZRANGE', KEYS[1], 0, -1)
  table.sort(members)
  -- Few at a time: if the number was lowered a lot, the next ones go on.
  for i = 1, math.min(over, 16) do
    redis.call('ZREM', KEYS[1], members[i])
    reply[i + 2] = string.match(members[i], ':(.*)$') or ''
  end
end
redis.call('ZADD', KEYS[1], now + ARGV[2], member)
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return reply
