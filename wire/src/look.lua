-- A look at one channel: the head, a range of the entries and, if asked, the oldest entry, all of the same moment.
-- A script, since Redis refuses transactions, though not this, when its memory is full. Keys: head, stream.
-- Arguments: XRANGE or XREVRANGE, from, to, the most entries [, anything, for the oldest entry too].
local look = { redis.call('GET', KEYS[1]), redis.call(ARGV[1], KEYS[2], ARGV[2], ARGV[3], 'COUNT', ARGV[4]) }
if ARGV[5] then look[3] = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1) end
return look
