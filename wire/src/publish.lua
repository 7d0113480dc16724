-- The one place that appends to a channel. Rendered for a deployment by publish.rs, which replaces the names in double
-- underscores and adds how it is called: EVAL, EVALSHA or FCALL, with the same keys and arguments.
--
--   publish      keys: stream, head [, idempotency record]   arguments: type, data [, name, value]...   -> position
--   ensure_head  keys: stream, head                          arguments: [name, value]...                -> position
--
-- Everything is validated before the first write, permissions too, since what a script wrote before it failed stays.
-- Refusals are error replies `SLUICE <code> <text>`. Only declared keys are touched; the topic is the stream's key without its `:s`.

local VERSION = __VERSION__
local EVENT_BYTES = __EVENT_BYTES__
local MAXLEN = __MAXLEN__
local TTL = __TTL__
local HEAD_TTL = __HEAD_TTL__
local IDEM_TTL = __IDEM_TTL__
local PUBLISH = '__PUBLISH__'

local MAX_CHANNEL_BYTES = 128
local MAX_NAME_CHARS = 128
local MAX_MAXLEN = 1000000
local MAX_TTL = 315360000000
local MAX_MS = 281474976710655
local MAX_SEQ = 65535

-- Reached through a value: while a Function library loads, Redis 7.0 hides the global tables.
local any = ''
local find, match, gsub, format, sub = any.find, any.match, any.gsub, any.format, any.sub

local function refuse(code, text)
  return redis.error_reply('SLUICE ' .. code .. ' ' .. text)
end

-- Whether a text is UTF-8 (Unicode, table 3-7). One gsub walks it in C and looks each sequence up in a table that
-- learns; whatever it leaves above ASCII is not UTF-8.
local function is_utf8(text)
  if not find(text, '[\128-\255]') then return true end
  local known = setmetatable({}, { __index = function(seen, s)
    local valid = find(s, '^[\194-\223][\128-\191]$')
      or find(s, '^\224[\160-\191][\128-\191]$')
      or find(s, '^[\225-\236\238\239][\128-\191][\128-\191]$')
      or find(s, '^\237[\128-\159][\128-\191]$')
      or find(s, '^\240[\144-\191][\128-\191][\128-\191]$')
      or find(s, '^[\241-\243][\128-\191][\128-\191][\128-\191]$')
      or find(s, '^\244[\128-\143][\128-\191][\128-\191]$')
    local rest = valid and '' or false
    seen[s] = rest
    return rest
  end })
  return not find(gsub(text, '[\194-\244][\128-\191]+', known), '[\128-\255]')
end

-- An event type or id: 1 to 128 characters, none of them a control character (C0, DEL, C1).
local function is_printable_name(text)
  if #text == 0 or #text > MAX_NAME_CHARS * 4 or find(text, '%c') then return false end
  if not find(text, '[\128-\255]') then return #text <= MAX_NAME_CHARS end
  local _, chars = gsub(text, '[^\128-\191]', '')
  return is_utf8(text) and chars <= MAX_NAME_CHARS and not find(text, '\194[\128-\159]')
end

local function whole(text, max)
  local number = #text <= 15 and find(text, '^[1-9]%d*$') and tonumber(text)
  return number and number <= max and number, 'a whole number from 1 to ' .. format('%.0f', max)
end

-- The value of an optional argument, false if it is not valid; and what is valid, nil if there is no such argument.
local function read_option(name, text)
  if name == 'maxlen' then return whole(text, MAX_MAXLEN) end
  if name == 'ttl' or name == 'idem_ttl' then return whole(text, MAX_TTL) end
  if name == 'tag' then return #text == 8 and match(text, '^[0-9a-f]+$'), '8 lower-case hexadecimal digits' end
  if name == 'tp' then
    local trace, parent = match(text, '^[0-9a-f][0-9a-f]%-([0-9a-f]+)%-([0-9a-f]+)%-[0-9a-f][0-9a-f]$')
    return trace and #trace == 32 and #parent == 16 and text, 'a traceparent of W3C Trace Context'
  end
end

-- The name value pairs from args[first] on, where `accepted` lists the names; or nil and a refusal.
local function read_pairs(args, first, accepted)
  if (#args - first) % 2 == 0 then
    return nil, refuse('bad_argument', 'optional arguments come as pairs of name and value')
  end
  local given = {}
  for i = first, #args, 2 do
    local name = args[i]
    local value, valid = read_option(name, args[i + 1])
    if not valid or not find(', ' .. accepted .. ',', ', ' .. name .. ',', 1, true) then
      local shown = sub(gsub(name, '[^%w_-]', '?'), 1, 32)
      return nil, refuse('bad_argument', 'unknown argument ' .. shown .. '; accepted are ' .. accepted)
    end
    if not value then return nil, refuse('bad_argument', name .. ' must be ' .. valid) end
    if given[name] then return nil, refuse('bad_argument', name .. ' is given twice') end
    given[name] = value
  end
  return given
end

-- The topic and, with a third key, the event id that the keys stand for; nil and a refusal otherwise.
local function read_keys(keys, most)
  local topic, channel = match(keys[1] or '', '^([^{}]*{([A-Za-z0-9_.:-]+)}):s$')
  local is_channel = topic and #channel <= MAX_CHANNEL_BYTES and not find('.' .. channel .. '.', '..', 1, true)
  if not is_channel or keys[2] ~= topic .. ':m' or #keys > most then
    return nil, refuse('bad_keys', 'the keys are <prefix>{<channel>}:s, ...:m' .. (most > 2 and ' and, to be idempotent, ...:i:<event id>' or ''))
  end
  if #keys < 3 then return topic end
  local mark = topic .. ':i:'
  if sub(keys[3], 1, #mark) ~= mark then
    return nil, refuse('bad_keys', 'the third key is <prefix>{<channel>}:i:<event id> of the same channel')
  end
  local event_id = sub(keys[3], #mark + 1)
  if not is_printable_name(event_id) then
    return nil, refuse('bad_event_id', 'an event id has 1 to 128 characters and no control character')
  end
  return topic, nil, event_id
end

-- A key's text, '' if it holds no text, false if there is no key; or nil and Redis's error.
local function read_text(key)
  local value = redis.pcall('GET', key)
  if type(value) ~= 'table' then return value end
  if find(value.err, 'WRONGTYPE') then return '' end
  return nil, value
end

-- The head as a table, nil if there is none; or nil and a refusal.
local function read_head(key)
  local value, refusal = read_text(key)
  if not value then return nil, refusal end
  local position, ms, seq, tag, rest = match(value, '^((%d+)%-(%d+)%.([0-9a-f]+))(.*)$')
  -- A position alone is taken as of the timeline 0-0.00000000.
  local genesis = rest == '' and '0-0.00000000' or match(rest or '', '^ (0%-0%.[0-9a-f]+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  local is_head = genesis and #genesis == 12 and #tag == 8 and ms <= MAX_MS and seq <= MAX_SEQ
    and position == format('%.0f-%.0f.%s', ms, seq, tag)
  if not is_head then
    return nil, refuse('bad_head', 'the head key does not hold <position> <genesis>; delete it to begin a new chain')
  end
  return { ms = ms, seq = seq, position = position, genesis = genesis }
end

-- Server time in milliseconds, and in microseconds as text.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), time[1] .. '.' .. time[2]
end

-- 32 bits from a hash: a script's own random numbers repeat.
local function hash32(text)
  return sub(redis.sha1hex(text), 1, 8)
end

local function new_genesis(micros, topic, tag, data)
  local position = '0-0.' .. hash32(micros .. topic .. (tag or '') .. data)
  return { ms = 0, seq = 0, position = position, genesis = position }
end

local function next_id(head, now)
  if now > head.ms then return now, 0 end
  if head.seq < MAX_SEQ then return head.ms, head.seq + 1 end
  return head.ms + 1, 0
end

local function percent(text)
  return (gsub(text, '[^A-Za-z0-9._~-]', function(c) return format('%%%02X', string.byte(c)) end))
end

-- Why an event cannot be published, if so.
local function refusal_of(event_type, data)
  if event_type ~= '' then
    local is_reserved = sub(event_type, 1, 7) == 'sluice.' or event_type == 'open' or event_type == 'error'
    if is_reserved or not is_printable_name(event_type) then
      return refuse('bad_event_type', 'an event type has 1 to 128 characters and no control character; sluice.*, open and error are reserved')
    end
  end
  if #data > EVENT_BYTES then
    return refuse('event_too_large', 'the data has ' .. #data .. ' bytes, the limit is ' .. EVENT_BYTES)
  end
  if not is_utf8(data) then return refuse('data_not_utf8', 'data must be UTF-8') end
end

-- The first position of a repeated event id, nil if it is new; or nil and a refusal. What is no record counts as none.
local function read_record(key, head, digest)
  if not key or not head then return nil end
  local record, refusal = read_text(key)
  if not record then return nil, refusal end
  local genesis, position, first_digest = match(record, '^(%S+) (%S+) (%x+)$')
  if genesis ~= head.genesis then return nil end
  if first_digest ~= digest then
    return nil, refuse('event_id_reused', 'this event id was published with another type or data; use a new id for a new event')
  end
  return position
end

-- The error if the caller may not run `command` on `name`, a key or else the topic. Further arguments only fill the
-- command's shape. Before Redis 7 nobody can tell.
local function denied(command, name, ...)
  -- Looked up here: while a library loads, `redis` has no such field.
  local may_run = redis.acl_check_cmd
  if not may_run or may_run(command, name, ...) then return nil end
  -- The keys were granted, or the call itself would have been refused; the topic was not asked for.
  local topic = command == PUBLISH and ' and &' .. name .. ', or a pattern of it' or ''
  return redis.error_reply('NOPERM this user may not run ' .. command .. ' on ' .. name
    .. '; nothing was written; grant +' .. any.lower(command) .. topic)
end

-- Writes a new chain's head, then deletes what is left of a stream before it; the error if Redis takes no write. In this
-- order, since Redis checks its memory before a script's first write only, and lets DEL pass.
local function begin_chain(keys, value, ttl)
  local set = redis.pcall('SET', keys[2], value, 'PX', ttl)
  if set.err then return set end
  redis.call('DEL', keys[1])
end

local function publish(keys, args)
  local topic, refusal, event_id = read_keys(keys, 3)
  if refusal then return refusal end
  if #args < 2 then return refuse('bad_argument', 'the arguments are type, data and pairs of name and value') end
  local event_type, data = args[1], args[2]
  refusal = refusal_of(event_type, data)
  if refusal then return refusal end
  local given
  given, refusal = read_pairs(args, 3, 'maxlen, ttl, idem_ttl, tag, tp')
  if refusal then return refusal end
  local head
  head, refusal = read_head(keys[2])
  if refusal then return refusal end
  local digest = event_id and redis.sha1hex(event_type .. '\n' .. data)
  local repeated
  repeated, refusal = read_record(keys[3], head, digest)
  if refusal or repeated then return refusal or repeated end

  local now, micros = clock()
  local is_new = not head
  head = head or new_genesis(micros, topic, given.tag, data)
  local ms, seq = next_id(head, now)
  if ms > MAX_MS then return refuse('bad_head', 'the ids of this channel are used up; delete its head to begin a new chain') end
  local tag = given.tag or hash32(micros .. head.position .. data)
  local id = format('%.0f-%.0f', ms, seq)
  local position = id .. '.' .. tag

  local entry = { 'p', head.position, 't', tag, 'd', data }
  local extras = ''
  if event_type ~= '' then entry[7], entry[8] = 'e', event_type end
  if event_id then
    entry[#entry + 1], entry[#entry + 2] = 'i', event_id
    extras = ' i=' .. percent(event_id)
  end
  if given.tp then
    entry[#entry + 1], entry[#entry + 2] = 'tp', given.tp
    extras = extras .. ' tp=' .. given.tp
  end

  refusal = is_new and denied('DEL', keys[1])
    or denied('XADD', keys[1], '*', '', '')
    or denied('PEXPIRE', keys[1], '1')
    or denied('SET', keys[2], '')
    or event_id and denied('SET', keys[3], '')
    or denied(PUBLISH, topic, '')
  if refusal then return refusal end

  local ttl = given.ttl or TTL
  -- The head outlives the stream: were it to go first, a living stream would be deleted as stale.
  local head_ttl = math.max(HEAD_TTL, ttl)
  local value = position .. ' ' .. head.genesis
  if is_new then
    refusal = begin_chain(keys, value, head_ttl)
    if refusal then return refusal end
  end
  local added = redis.pcall('XADD', keys[1], 'MAXLEN', '~', given.maxlen or MAXLEN, id, unpack(entry))
  if type(added) == 'table' and added.err then
    -- The first write, but on a new chain, where it cannot fail. Full memory and missing replicas are for Redis to report.
    if not find(added.err, 'smaller than') and not find(added.err, 'WRONGTYPE') then return added end
    return refuse('bad_stream', 'the stream key holds what this chain did not write; delete the stream key')
  end
  redis.call('PEXPIRE', keys[1], ttl)
  if not is_new then redis.call('SET', keys[2], value, 'PX', head_ttl) end
  if event_id then
    redis.call('SET', keys[3], head.genesis .. ' ' .. position .. ' ' .. digest, 'PX', given.idem_ttl or IDEM_TTL)
  end
  redis.call(PUBLISH, topic, 'sluice/1 ' .. position .. ' ' .. head.position .. extras .. '\n' .. event_type .. '\n' .. data)
  return position
end

-- The head position; begins a chain where there is none, so that a subscriber of a channel never published to stands
-- somewhere. Keeps a head alive: its TTL is renewed once half of it is gone.
local function ensure_head(keys, args)
  local topic, refusal = read_keys(keys, 2)
  if refusal then return refusal end
  local given
  given, refusal = read_pairs(args, 1, 'tag')
  if refusal then return refusal end
  local head
  head, refusal = read_head(keys[2])
  if refusal then return refusal end
  if not head then
    refusal = denied('DEL', keys[1]) or denied('SET', keys[2], '')
    if refusal then return refusal end
    local _, micros = clock()
    head = new_genesis(micros, topic, given.tag, '')
    refusal = begin_chain(keys, head.position .. ' ' .. head.genesis, HEAD_TTL)
    if refusal then return refusal end
  elseif redis.call('PTTL', keys[2]) < HEAD_TTL / 2 then
    refusal = denied('PEXPIRE', keys[2], '1')
    if refusal then return refusal end
    redis.call('PEXPIRE', keys[2], HEAD_TTL)
  end
  return head.position
end
