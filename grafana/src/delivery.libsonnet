// What becomes of an event between its publish and its reader.
local dashboard = import 'dashboard.libsonnet';
local p = import 'panels.libsonnet';

local name = 'sluice_delivery_latency_seconds';

dashboard(
  'sluice-delivery',
  'Sluice: delivery',
  'How long events take, which parts of the way cost it, and whether any were missed.',
  [
    p.row('From publish to socket', [
      p.series('Latency', 'From publish, by the clock of Redis, to the write to the socket; live events only. The line is the promise.', 's', [
        [p.quantile(part[0], name), part[1]]
        for part in [[0.5, 'half'], [0.95, '95 %'], [0.99, '99 %'], [0.999, '99.9 %']]
      ]) + p.above(0.25, 0.25) + p.lines,
      p.heatmap('Latency, all of it', 'Events by how long they took. A second band above the first is a part of the readers, or one node.', 's',
                'sum by (le) (increase(%s_bucket{@}[$__rate_interval]))' % name),
      p.series('Late, by node', 'The share of events that took longer than 250 ms. Promised is a thousandth at most. One node alone is its own fault.', 'percentunit', [
        ['1 - sum by (node) (rate(%s_bucket{@, le="0.25"}[$__rate_interval])) / (sum by (node) (rate(%s_count{@}[$__rate_interval])) > 0)' % [name, name], '{{node}}'],
      ]) + p.above(0.001, 0.01) + p.lines,
    ], 8),
    p.row('Inside a node', [
      p.series('To the ring', 'From the broker thread to its place in a worker: the wait in the queue of the worker.', 's', [
        [p.quantile(0.5, 'sluice_ring_lag_seconds'), 'half'],
        [p.quantile(0.99, 'sluice_ring_lag_seconds', 'node'), '99th percentile, {{node}}'],
      ]) + p.above(0.01, 0.05) + p.lines,
      p.series('Fan-out', 'From the broker thread until the last stream of a worker is woken.', 's', [
        [p.quantile(0.5, 'sluice_fanout_duration_seconds'), 'half'],
        [p.quantile(0.99, 'sluice_fanout_duration_seconds', 'node'), '99th percentile, {{node}}'],
      ]) + p.above(0.025, 0.1) + p.lines,
      p.series('Readers behind', 'The most events that a stream is behind, and streams that are more than 100 behind. Readers that stay so end as slow_consumer.', 'short', [
        ['max(sluice_client_lag_events{@})', 'most events'],
        ['sum(sluice_clients_lagging{@})', 'streams behind'],
      ]) + p.above(1000, 10000),
      p.series('Queues that were full', 'Times that the queue of a worker was full. Its channels were read from history instead: nothing is lost, but time.', 'ops',
               [[p.rate('sluice_worker_overflows_total', 'node'), '{{node}}']]) + p.above(0.1, 1),
    ]),
    p.row('Throughput', [
      p.stacked('Events received', 'How events reached the nodes: pubsub live, sync read from history, ephemeral without a place.', 'ops',
                [[p.rate('sluice_events_received_total', 'source'), '{{source}}']]),
      p.stacked('Events delivered', 'Events written to streams, one for each reader.', 'ops',
                [[p.rate('sluice_events_delivered_total', 'node'), '{{node}}']]),
      p.stacked('Bytes sent', 'Bytes written to streams, heartbeats among them. Counted as they are written.', 'Bps',
                [[p.rate('sluice_bytes_sent_total', 'node'), '{{node}}']]),
      p.series('Readers of an event', 'Events delivered for each that was received: how far the nodes fan out.', 'short',
               [['%s / (%s > 0)' % [p.rate('sluice_events_delivered_total'), p.rate('sluice_events_received_total')], 'readers']]),
    ]),
    p.row('Continuity', [
      p.series('Losses noticed', 'Live events that did not link to the one before, and channels whose head differed at an audit. Each was made good from history. Much of it: Redis closes subscribers (client-output-buffer-limit).', 'ops', [
        [p.rate('sluice_gaps_found_total'), 'gaps'],
        [p.rate('sluice_audit_findings_total'), 'audit findings'],
        [p.rate('sluice_stragglers_total'), 'stragglers'],
      ]) + p.above(0.1, 1) + p.provokedAs(['gaps']),
      p.stacked('Channels read from history', 'Why channels were read. subscribe is as it should be; reconnect follows a lost connection; gap, audit, overflow and suspect are losses made good.', 'ops',
                [[p.rate('sluice_syncs_total', 'cause'), '{{cause}}']]) + p.provokedAs(['gap', 'reconnect']),
      p.stacked('Readers that came back', 'How they went on: current missed nothing, ring was answered from memory, stream from the history in Redis, reset could not be answered.', 'ops',
                [[p.rate('sluice_replay_requests_total', 'outcome'), '{{outcome}}']]) + p.provokedAs(['reset']),
      p.series('Resets told', 'Why continuity could not be proved. trimmed and backfill_limit: the reader was away for longer than is kept. rollback, failover and state_lost: Redis lost events. bad_cursor: the client.', 'ops',
               [[p.rate('sluice_resets_told_total', 'reason'), '{{reason}}']]) + p.above(0.01, 1) + p.provokedAs(['trimmed', 'state_lost']),
    ]),
    p.row('Details', [
      p.series('Events replayed', 'Events that were sent again to readers that came back.', 'ops',
               [[p.rate('sluice_replay_events_total', 'node'), '{{node}}']]),
      p.series('Messages dropped', 'Messages that were not delivered as they came. malformed, version, not_utf8 and too_large: a publisher that breaks the format. overflow was read from history.', 'ops',
               [[p.rate('sluice_events_dropped_total', 'reason'), '{{reason}}']]) + p.above(0.1, 1) + p.provokedAs(['malformed']),
      p.series('Publishes over HTTP', 'How publishes ended. refused and forbidden are the publisher; limited is over its rate; unavailable is Redis.', 'ops',
               [[p.rate('sluice_published_total', 'outcome'), '{{outcome}}']]) + p.provokedAs(['refused', 'forbidden', 'unavailable']),
      p.series('Latencies below zero', 'Latencies that were negative and counted as 0, of all: nearly all of them below zero is a clock that differs, and latencies wrong by as much. A good part is as it should be where events take less than a millisecond, which is as fine as positions are.', 'percentunit', [
        ['%s / (%s > 0)' % [p.rate('sluice_latency_clamped_total', 'node'), p.rate(name + '_count', 'node')], '{{node}}'],
      ]) + p.above(0.75, 0.9) + p.lines,
    ], 7, true),
  ]
)
