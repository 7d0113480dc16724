// Each node, and how a rollout goes.
local dashboard = import 'dashboard.libsonnet';
local p = import 'panels.libsonnet';

dashboard(
  'sluice-nodes',
  'Sluice: nodes and rollout',
  'The nodes one by one: version, age, state, load; and how streams move when one leaves.',
  [
    p.row('Nodes', [
      p.table('Nodes', 'One line for each node. ready 0 with draining 0 for minutes: look at its log.', 'node', [
        ['max by (node, version, commit) (sluice_build_info{@})', 'runs'],
        ['time() - max by (node) (process_start_time_seconds{job="sluice", @})', 'age'],
        ['max by (node) (sluice_ready{@})', 'ready'],
        ['max by (node) (sluice_draining{@})', 'draining'],
        ['sum by (node) (sluice_connections{@})', 'streams'],
        ['max by (node) (sluice_redis_connected{@})', 'Redis'],
      ]) + p.column('age', 's'),
      p.series('Versions', 'Nodes by version and commit. During a rollout one line falls and the other rises; both for an hour: it is stuck.', 'none',
               [['count by (version, commit) (sluice_build_info{@})', '{{version}} {{commit}}']]),
    ], 8),
    p.row('Rollout', [
      p.series('State', 'Nodes that answer, are ready, and are leaving.', 'none', [
        ['sum(up{job="sluice", @})', 'answer'],
        ['sum(sluice_ready{@})', 'ready'],
        ['sum(sluice_draining{@})', 'leaving'],
      ]) + p.below(1, 1),
      p.series('Drain window left', 'Time that a leaving node has left to end its streams. At 0 with a node that stays: it is stuck.', 's',
               [['max by (node) (sluice_drain_remaining_seconds{@})', '{{node}}']]),
      p.stacked('Streams by node', 'How streams move from a node that leaves to the others, and even out.', 'short',
                [['sum by (node) (sluice_connections{@})', '{{node}}']]),
      p.series('Streams that move', 'Streams ended by a drain, and streams opened. Opened should rise no higher than ended does.', 'ops', [
        [p.rate('sluice_connections_closed_total', '', 'reason="drain"'), 'ended by a drain'],
        [p.rate('sluice_connections_rejected_total', '', 'reason="drain"'), 'sent on by a drain'],
        [p.rate('sluice_connections_opened_total'), 'opened'],
      ]) + p.provokedAs(['ended by a drain']),
    ]),
    p.row('Load', [
      p.series('CPU', 'Cores in use. Beside it, how busy the threads are: one that has no time left is the limit, not the sum.', 'none',
               [['sum by (node) (rate(process_cpu_seconds_total{job="sluice", @}[$__rate_interval]))', '{{node}}']]),
      p.series('Memory', 'Memory of the process as the kernel counts it.', 'bytes',
               [['max by (node) (process_resident_memory_bytes{job="sluice", @})', '{{node}}']]),
      p.series('Threads', 'Threads of the process, those of the runtimes and all others. It should not change.', 'none',
               [['max by (node) (process_threads{job="sluice", @})', '{{node}}']]),
    ]),
    p.row('Threads', [
      p.series('Busy threads', 'The share of time that threads are at work, by what they are for. worker carries streams, broker speaks to Redis.', 'percentunit', [
        ['sum by (node, thread) (rate(sluice_runtime_busy_seconds_total{@}[$__rate_interval])) / (sum by (node, thread) (sluice_runtime_threads{@}) > 0)', '{{node}} {{thread}}'],
      ]) + p.above(0.7, 0.9) + p.lines,
      p.series('Late threads (99th percentile)', 'How late what a thread has to do begins, one moment in a hundred. A worker that is late makes its events late, whatever Redis does; up to 2 ms are the timer\'s own. Late and not busy: something blocks it.', 's',
               [[p.quantile(0.99, 'sluice_runtime_lag_seconds', 'node, thread'), '{{node}} {{thread}}']]) + p.above(0.025, 0.1) + p.lines,
    ]),
    p.row('What nodes tell apart', [
      p.series('Late, by node (99th percentile)', 'From publish to socket. A node that stands out is its own fault.', 's',
               [[p.quantile(0.99, 'sluice_delivery_latency_seconds', 'node'), '{{node}}']]) + p.above(0.1, 0.25) + p.lines,
      p.series('Turned away, by node', 'Only one node that turns callers away: its limit, or its way to Redis.', 'ops',
               [[p.rate('sluice_connections_rejected_total', 'node'), '{{node}}']]) + p.above(1, 10) + p.provoked,
      p.series('Slow consumers, by node', 'Streams closed since their readers did not read. All nodes: the readers, or what is in front.', 'ops',
               [[p.rate('sluice_connections_closed_total', 'node', 'reason="slow_consumer"'), '{{node}}']]) + p.above(0.5, 5) + p.provoked,
    ]),
  ]
)
