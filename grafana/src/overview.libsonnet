// Are the promises kept; and if an event is late, whose fault is it.
local dashboard = import 'dashboard.libsonnet';
local p = import 'panels.libsonnet';

local promise(title, slo, goal, tight, text) =
  p.stat(title, text + ' Over 30 days, or as long as Prometheus remembers.', 'percentunit', [['1 - sluice:slo_failures:ratio30d{#, slo="%s"}' % slo, '']])
  + p.below(goal, tight) + p.decimals(3);

local suspect(title, text, unit, list, warn, bad) = p.stat(title, text, unit, list) + p.above(warn, bad);

dashboard(
  'sluice-overview',
  'Sluice: overview',
  'Promises and error budgets, whose fault a late event is, and traffic.',
  [
    p.row('Promises', [
      promise('Delivered within 250 ms', 'delivery-latency', 0.999, 0.9995, 'Live events that were written to their stream less than 250 ms after their publish. Promised: 99.9 %.'),
      promise('Could connect', 'connect-availability', 0.999, 0.9995, 'Streams that opened, of those that should have. Turned away with overload, unavailable or keys_unavailable counts against it. Promised: 99.9 %.'),
      promise('Resumed without a gap', 'resume-without-gap', 0.9999, 0.99995, 'Readers that came back and got all they had missed. Promised: 99.99 %.'),
      p.series('Error budget left', 'What is left of the failures that 30 days may have: 1 is all, 0 is none, below 0 the promise is broken; -1 is twice the budget or more. Below a quarter, roll out nothing that can wait.', 'percentunit',
               [['clamp_min(sluice:error_budget_left:ratio30d{#}, -1)', '{{slo}}']])
      + p.below(0, 0.25) + p.lines + { fieldConfig+: { defaults+: { min:: null } } },
      p.series('Burn rate over an hour', 'How many times faster than allowed the budget is used up. 1 lasts for just 30 days; from 6 somebody is woken within the hour, from 14.4 within minutes.', 'none',
               [['sluice:slo_failures:ratio1h{#} / on (slo) group_left () sluice:error_budget:ratio', '{{slo}}']])
      + p.above(6, 14.4) + p.lines + p.provokedAs(['connect-availability', 'resume-without-gap']),
    ], 6, widths=[4, 4, 4, 6, 6]),
    p.row('Whose fault is a late event? From left to right: the first that is not green', [
      suspect('1 Redis: publish', 'One in a hundred publishes through the gateway takes longer than this to be appended by Redis. Red: Redis, or the way to it, or too few connections: sluice_limit_used{limit="redis_pool"} at sluice_limit. (Publishers with their own connection see the same Redis.)', 's',
              [[p.quantile(0.99, 'sluice_redis_command_duration_seconds', '', 'class="publish"'), '']], 0.025, 0.1),
      suspect('2 Redis: reads', 'The same for reading channels and for audits. Red with a green publish: large histories, or too few connections (redis.pool_size).', 's',
              [[p.quantile(0.99, 'sluice_redis_command_duration_seconds', '', 'class=~"read|audit"'), '']], 0.025, 0.1),
      suspect('3 Redis: silence', 'The longest that a subscriber connection has been silent. A quiet one is probed each second and replaced after three: red is a way from Redis to a node that is broken.', 's',
              [['max(sluice_redis_silence_seconds{@})', '']], 2.5, 4),
      suspect('4 node: ring', 'From the broker thread to a worker, one event in a hundred. Red: the node has too little CPU.', 's',
              [[p.quantile(0.99, 'sluice_ring_lag_seconds'), '']], 0.01, 0.05),
      suspect('5 node: fan-out', 'From the broker thread until the last stream of a worker is woken, one event in a hundred. Red with a green ring: too many streams on a channel for one node.', 's',
              [[p.quantile(0.99, 'sluice_fanout_duration_seconds'), '']], 0.025, 0.1),
      suspect('6 readers behind', 'The share of streams that are more than 100 events behind. Red with all before it green: the readers, or their network.', 'percentunit',
              [['sum(sluice_clients_lagging{@}) / (sum(sluice_connections{@}) > 0)', '']], 0.01, 0.05),
      suspect('7 to the socket', 'All of it, from publish to socket write, one event in a hundred. Readers that are slow count, too.', 's',
              [[p.quantile(0.99, 'sluice_delivery_latency_seconds'), '']], 0.1, 0.25),
      suspect('8 canary', 'Published and read back by each node through its own listener, one probe in a hundred. Green with a red 7: only some readers are slow. Green with complaints: look between node and reader, at the balancer.', 's',
              [[p.quantile(0.99, 'sluice_canary_latency_seconds'), '']], 0.1, 0.25),
    ], 4),
    p.row('The same over time', [
      p.series('Where the time goes (99th percentile)', 'The steps of the row above over time. What rises first is the cause; what comes after it follows.', 's', [
        [p.quantile(0.99, 'sluice_redis_command_duration_seconds', '', 'class="publish"'), '1 Redis publish'],
        [p.quantile(0.99, 'sluice_redis_command_duration_seconds', '', 'class=~"read|audit"'), '2 Redis reads'],
        [p.quantile(0.99, 'sluice_ring_lag_seconds'), '4 ring'],
        [p.quantile(0.99, 'sluice_fanout_duration_seconds'), '5 fan-out'],
        [p.quantile(0.99, 'sluice_delivery_latency_seconds'), '7 to the socket'],
        [p.quantile(0.99, 'sluice_canary_latency_seconds'), '8 canary'],
      ]) + p.above(0.1, 0.25) + p.lines,
      p.series('By node: to the socket (99th percentile)', 'One node that stands out is its own fault; all together are that of Redis or of the load.', 's',
               [[p.quantile(0.99, 'sluice_delivery_latency_seconds', 'node'), '{{node}}']])
      + p.above(0.1, 0.25) + p.lines,
    ]),
    p.row('What has no time of its own', [
      p.series('3 Redis: silence', 'The longest that a subscriber connection has been silent. A quiet one is probed each second and replaced after three.', 's',
               [['max by (node) (sluice_redis_silence_seconds{@})', '{{node}}']]) + p.above(2.5, 4) + p.lines,
      p.series('6 readers behind', 'The share of streams that are more than 100 events behind. All nodes together: the readers; one node: its network.', 'percentunit',
               [['sum by (node) (sluice_clients_lagging{@}) / (sum by (node) (sluice_connections{@}) > 0)', '{{node}}']]) + p.above(0.01, 0.05) + p.lines,
      p.series('Read from history', 'Channels read from history, by cause. An event that was lost on its way and read from history is in no latency: gap, audit, overflow and suspect show that there were some, reconnect that a connection was lost.', 'ops',
               [[p.rate('sluice_syncs_total', 'cause'), '{{cause}}']]) + p.provokedAs(['gap', 'reconnect']),
    ]),
    p.row('Traffic', [
      p.series('Streams', 'Streams that are open, and how many the nodes accept together.', 'short', [
        ['sum(sluice_connections{@})', 'open'],
        ['sum(sluice_limit_connections{@})', 'limit'],
      ]) + p.limit('limit'),
      p.series('Events', 'Events that reached the nodes, and events that they wrote to streams: one for each reader.', 'ops', [
        [p.rate('sluice_events_received_total'), 'received'],
        [p.rate('sluice_events_delivered_total'), 'delivered'],
      ]),
      p.series('Turned away', 'Requests for a stream that were turned away, by reason. What unauthorized, forbidden, origin, bad_request and limit are, the caller can mend; the rest is ours.', 'ops',
               [[p.rate('sluice_connections_rejected_total', 'reason'), '{{reason}}']]) + p.above(1, 10) + p.provokedAs(['unauthorized', 'overload']),
      p.series('Promises taken back', 'Resets told to readers: what they missed could not be given to them. rollback, failover and state_lost are events that Redis lost.', 'ops',
               [[p.rate('sluice_resets_told_total', 'reason'), '{{reason}}']]) + p.above(0.01, 1) + p.provokedAs(['trimmed', 'state_lost']),
    ]),
    p.row('State', [
      p.stat('Nodes that answer', 'Nodes that Prometheus reaches.', 'none', [['sum(up{job="sluice", @})', '']]) + p.below(1, 2),
      p.stat('Nodes that are ready', 'Nodes that take new streams. Fewer than answer: some start or drain.', 'none', [['sum(sluice_ready{@})', '']]) + p.below(1, 2),
      p.stat('Without Redis', 'Nodes without a subscriber connection to Redis.', 'none', [['sum(1 - sluice_redis_connected{@})', '']]) + p.above(1, 1) + p.provoked,
      p.stat('Canaries that fail', 'Probes of the canary that failed, of all within five minutes.', 'percentunit',
             [['sum(rate(sluice_canary_probes_total{@, outcome!="ok"}[5m])) / (sum(rate(sluice_canary_probes_total{@}[5m])) > 0)', '']]) + p.above(0.05, 0.5) + p.provoked,
      p.stat('Alerts that fire', 'Alerts of Sluice that fire in this Prometheus. Each has a runbook: docs/runbooks/.', 'none',
             [['count(ALERTS{alertname=~"Sluice.+", alertstate="firing"}) or vector(0)', '']]) + p.above(1, 3) + p.provoked,
      p.stat('Versions', 'Versions that run, and builds of them. More than one: a rollout is under way.', 'none',
             [['count(count by (version, commit) (sluice_build_info{@}))', '']]) + p.above(2, 3),
    ], 4),
  ]
)
