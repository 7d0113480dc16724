-- Places are held on. KEYS: of which subject each is; ARGV: for how long (ms), then each member. One that is no longer
-- there is written anew: its stream lives, whatever Redis has forgotten.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, key in ipairs(KEYS) do
  -- A key that somebody else has written to hinders no other.
  redis.pcall('ZADD', key, now + ARGV[1], ARGV[i + 1])
  if redis.call('PTTL', key) < tonumber(ARGV[1]) then
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return #KEYS
