// Redis as the nodes see it.
local dashboard = import 'dashboard.libsonnet';
local p = import 'panels.libsonnet';

local seconds = 'sluice_redis_command_duration_seconds';

dashboard(
  'sluice-redis',
  'Sluice: Redis',
  'The connections to Redis, how fast it answers, what it loses, and the canary that goes through it.',
  [
    p.row('The subscriber connection', [
      p.series('Connected', '1 while the connection stands. All at 0: Redis. One at 0: that node, or its network.', 'none',
               [['min by (node) (sluice_redis_connected{@})', '{{node}}']]) + p.below(0.5, 1) + p.most(1),
      p.series('Silence', 'Time since Redis last said anything. A quiet connection is probed after one second and replaced after three.', 's',
               [['max by (node) (sluice_redis_silence_seconds{@})', '{{node}}']]) + p.provoked + p.above(2.5, 4) + p.lines,
      p.series('Replaced', 'Times that the connection was replaced. Each costs a read of every channel on that node.', 'short',
               [['sum by (node) (increase(sluice_redis_reconnects_total{@}[$__rate_interval]))', '{{node}}']]) + p.provoked + p.above(1, 3),
      p.series('Messages lost on the way', 'Losses that the chain or an audit found, and what was read for them.', 'ops', [
        [p.rate('sluice_gaps_found_total'), 'gaps'],
        [p.rate('sluice_audit_findings_total'), 'audit findings'],
        [p.rate('sluice_syncs_total', '', 'cause="reconnect"'), 'channels read after a reconnect'],
      ]) + p.provokedAs(['gaps', 'channels read after a reconnect']) + p.above(0.1, 1),
    ]),
    p.row('Commands', [
      p.series('How long (99th percentile)', 'Round trips by class of command. All classes: Redis, or the network. read alone: large histories. publish alone: a slow disk with appendfsync always.', 's',
               [[p.quantile(0.99, seconds, 'class'), '{{class}}']]) + p.above(0.025, 0.1) + p.lines,
      p.series('How long (half)', 'What a usual command takes. It should be near the round trip of the network.', 's',
               [[p.quantile(0.5, seconds, 'class'), '{{class}}']]) + p.above(0.005, 0.025),
      p.stacked('How many', 'Commands and pipelines by class, failed ones among them.', 'ops',
                [[p.rate(seconds + '_count', 'class'), '{{class}}']]),
      p.series('Failed', 'Commands without an answer or with an error, by class.', 'ops',
               [[p.rate('sluice_redis_command_errors_total', 'class'), '{{class}}']]) + p.provoked + p.above(0.1, 1),
    ], 8),
    p.row('By node', [
      p.series('How long, by node (99th percentile)', 'Reads and publishes. One node that stands out: its network, or its CPU.', 's',
               [[p.quantile(0.99, seconds, 'node', 'class=~"publish|read"'), '{{node}}']]) + p.above(0.025, 0.1) + p.lines,
      p.series('Waiting for Redis', 'What is under way, of what may be: connections in use, publishes, looks and places of subjects. At 1 more must wait or is told to come again.', 'percentunit', [
        ['max by (limit) (sluice_limit_used{@, limit=~"redis_pool|.*_in_flight|backfills"} / (sluice_limit{@} > 0))', '{{limit}}'],
      ]) + p.above(0.7, 0.9) + p.lines + p.most(1),
      p.stacked('Publishes over HTTP', 'unavailable: Redis did not answer.', 'ops',
                [[p.rate('sluice_published_total', 'outcome'), '{{outcome}}']]) + p.provokedAs(['refused', 'forbidden', 'unavailable']),
    ]),
    p.row('Canary', [
      p.stacked('Probes', 'Each node publishes to a channel of its own and reads it back through its own listener. publish_failed: Redis. timeout: the way back. stream_failed: the node takes no streams.', 'ops',
                [[p.rate('sluice_canary_probes_total', 'outcome'), '{{outcome}}']]) + p.provokedAs(['publish_failed|timeout']),
      p.series('How long (99th percentile)', 'From publish until it is read back, by node.', 's',
               [[p.quantile(0.99, 'sluice_canary_latency_seconds', 'node'), '{{node}}']]) + p.above(0.1, 0.25) + p.lines,
      p.heatmap('How long, all of it', 'Probes that came back, by how long they took.', 's',
                'sum by (le) (increase(sluice_canary_latency_seconds_bucket{@}[$__rate_interval]))'),
      p.stat('Canaries switched on', 'Nodes with canary.enabled. A node without one is watched by its readers alone.', 'none',
             [['sum(sluice_canary_enabled{@})', '']]) + p.below(1, 1),
    ]),
  ]
)
