-- Adds standing orders. Keys: the orders; the mark: a random text, a colon, and how many orders were added since.
-- Arguments: the topic on which the orders are told, or nothing; the most that may stand, or nothing; a random text for
-- when there is no mark; then for each order until when it holds, in Unix milliseconds, and its JSON. Answers how many
-- were added. Permissions are asked for before anything is written, since what a script wrote before it failed stays.

local may_run = redis.acl_check_cmd
local function denied(command, ...)
  if not may_run or may_run(command, ...) then return nil end
  local name = ...
  return redis.error_reply('NOPERM this user may not run ' .. command .. ' on ' .. name
    .. '; nothing was written; grant +' .. string.lower(command) .. ' and ' .. (command == 'PUBLISH' and '&' or '~') .. name)
end

local orders, mark = KEYS[1], KEYS[2]
local topic, most = ARGV[1], tonumber(ARGV[2])
local refusal = denied('ZREMRANGEBYSCORE', orders, '-inf', '0') or denied('ZCARD', orders)
  or denied('ZADD', orders, '0', '') or denied('PTTL', orders) or denied('PEXPIRE', orders, '1')
  or denied('SET', mark, '') or denied('GET', mark) or denied('PEXPIRE', mark, '1') or (topic ~= '' and denied('PUBLISH', topic, ''))
if refusal then return refusal end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', orders, '-inf', string.format('%.0f', now))
if most and redis.call('ZCARD', orders) + (#ARGV - 3) / 2 > most then
  return redis.error_reply('SLUICE standing_orders as many stand as may')
end
local left = redis.call('PTTL', orders)
local added, last = 0, 0
for i = 4, #ARGV, 2 do
  local till, text = tonumber(ARGV[i]), ARGV[i + 1]
  if till > now then
    added = added + redis.call('ZADD', orders, 'NX', ARGV[i], text)
    if topic ~= '' then redis.call('PUBLISH', topic, text) end
    if till > last then last = till end
  end
end
if added > 0 then
  local given = redis.call('GET', mark)
  local epoch, count = string.match(given or '', '^([%w_-]+):(%d+)$')
  if not epoch then epoch, count = ARGV[3], 0 end
  redis.call('SET', mark, epoch .. ':' .. string.format('%.0f', count + added), 'KEEPTTL')
  -- Both go with the last order. What somebody has put there to stay, stays.
  if left ~= -1 and left < last - now then
    local lasting = string.format('%.0f', last - now + 60000)
    redis.call('PEXPIRE', orders, lasting)
    redis.call('PEXPIRE', mark, lasting)
  end
end
return added
