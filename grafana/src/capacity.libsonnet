// How much more fits.
local dashboard = import 'dashboard.libsonnet';
local p = import 'panels.libsonnet';

dashboard(
  'sluice-capacity',
  'Sluice: capacity',
  'How far limits, descriptors, memory and CPU are used, and whether what runs would bear the loss of a node.',
  [
    p.row('Streams', [
      p.stat('Places in use', 'Streams of all that the nodes accept together. Beyond 0.7 the loss of a node may not fit: add one.', 'percentunit',
             [['sum(sluice_connections{@}) / sum(sluice_limit_connections{@})', '']]) + p.above(0.7, 0.85),
      p.stat('Without the largest node', 'The same, were the node with the most places gone and its streams on the others. From 1 on some could not connect. With one node there is nothing to tell.', 'percentunit',
             [['sum(sluice_connections{@}) / ((sum(sluice_limit_connections{@}) - max(sluice_limit_connections{@})) > 0)', '']]) + p.above(0.85, 1),
      p.series('Streams of each node', 'Streams, and what each node accepts.', 'short', [
        ['sum by (node) (sluice_connections{@})', '{{node}}'],
        ['min(sluice_limit_connections{@})', 'limit of a node'],
      ]) + p.limit('limit of a node'),
    ]),
    p.row('Limits of nodes', [
      p.series('Use of limits', 'What is used of each limit, on the node where it is most; limits that are off are left out. From 0.85 on an alert comes.', 'percentunit',
               [['max by (limit) (sluice_limit_used{@} / (sluice_limit{@} > 0))', '{{limit}}']]) + p.above(0.7, 0.85) + p.lines + p.most(1),
      p.series('File descriptors', 'Descriptors open, of all that the process may open. Each stream is one.', 'percentunit',
               [['process_open_fds{job="sluice", @} / process_max_fds{job="sluice", @}', '{{node}}']]) + p.above(0.7, 0.85) + p.lines + p.most(1),
      p.provokedAs(['attempts_per_ip', 'connections']) + p.series('Limits that were hit', 'Times that somebody was turned away or cut off, by limit.', 'ops',
               [[p.rate('sluice_limit_hits_total', 'limit'), '{{limit}}']]) + p.above(1, 10),
    ], 8),
    p.row('Memory', [
      p.series('Memory', 'What the program holds, what the allocator keeps resident for it, and what the kernel counts. A distance that grows is fragmentation.', 'bytes', [
        ['sum by (node) (sluice_memory_allocated_bytes{@})', '{{node}} allocated'],
        ['sum by (node) (sluice_memory_resident_bytes{@})', '{{node}} allocator'],
        ['max by (node) (process_resident_memory_bytes{job="sluice", @})', '{{node}} kernel'],
      ]),
      p.series('Memory of a stream', 'Allocated bytes for each open stream, rings and all else included. It falls towards its true size with more streams.', 'bytes',
               [['sum by (node) (sluice_memory_allocated_bytes{@}) / (sum by (node) (sluice_connections{@}) > 0)', '{{node}}']]),
      p.series('Subscriptions and channels', 'Each channel has a ring of recent events in each worker that has readers of it.', 'short', [
        ['sum by (node) (sluice_subscriptions{@})', '{{node}} subscriptions'],
        ['sum by (node) (sluice_channels{@})', '{{node}} channels'],
      ]),
    ]),
    p.row('CPU', [
      p.series('CPU for 1000 events', 'Seconds of CPU for 1000 delivered events. It falls with larger fan-out.', 's', [
        ['1000 * sum by (node) (rate(process_cpu_seconds_total{job="sluice", @}[$__rate_interval])) / (%s > 0)' % p.rate('sluice_events_delivered_total', 'node'), '{{node}}'],
      ]),
      p.series('Busiest threads', 'The share of time that threads are at work. Near 1 for worker: more cores, or more nodes. Near 1 for broker: more nodes, or fewer events for each.', 'percentunit', [
        ['max by (thread) (sum by (node, thread) (rate(sluice_runtime_busy_seconds_total{@}[$__rate_interval])) / (sum by (node, thread) (sluice_runtime_threads{@}) > 0))', '{{thread}}'],
      ]) + p.above(0.7, 0.9) + p.lines,
      p.series('Bytes sent', 'By node, for the network it takes. Counted as they are written.', 'Bps',
               [[p.rate('sluice_bytes_sent_total', 'node'), '{{node}}']]),
    ]),
  ]
)
