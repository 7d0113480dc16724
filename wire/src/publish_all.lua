
-- Publishes events of one channel in order. Keys: stream, head, then the idempotency record of each event that has one.
-- Arguments, for each event: 'i' if it has a record, the number of its arguments, and those of publish. Replies, for each
-- event: its position, or `-` and why not. It goes on after a refusal, which is the event's own fault; after any other
-- failure the rest is not tried and has no reply, so that nothing overtakes what may be tried again.
local function publish_all(keys, args)
  local replies, record, at = {}, 3, 1
  while args[at] do
    local event_keys = { keys[1], keys[2] }
    if args[at] == 'i' then
      event_keys[3] = keys[record]
      record = record + 1
    end
    local last = at + 1 + tonumber(args[at + 1])
    local ran, reply = pcall(publish, event_keys, { unpack(args, at + 2, last) })
    at = last + 1
    local is_error = not ran or type(reply) == 'table'
    if is_error then reply = '-' .. (type(reply) == 'table' and reply.err or reply) end
    replies[#replies + 1] = reply
    if is_error and not find(reply, '^%-+SLUICE ') then break end
  end
  return replies
end

return publish_all(KEYS, ARGV)
