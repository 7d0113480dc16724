// Who connects, who is turned away, and why streams end.
local dashboard = import 'dashboard.libsonnet';
local p = import 'panels.libsonnet';

dashboard(
  'sluice-connections',
  'Sluice: connections',
  'Streams that open, end and are turned away; credentials, limits and what happens below HTTP.',
  [
    p.row('Streams', [
      p.stacked('Open', 'Streams and waiting polls by node, and how many all nodes accept together.', 'short', [
        ['sum by (node) (sluice_connections{@})', '{{node}}'],
        ['sum(sluice_limit_connections{@})', 'limit'],
      ]) + p.limit('limit'),
      p.series('Opened and ended', 'A wave of both is a rollout, or a balancer that cuts streams. With stream.max_age each stream comes back once an hour.', 'ops', [
        [p.rate('sluice_connections_opened_total'), 'opened'],
        [p.rate('sluice_connections_closed_total'), 'ended'],
      ]),
      p.stacked('Ended, by reason', 'client_gone, max_age, poll_done and drain are as it should be. slow_consumer and transport_error are readers that do not read.', 'ops',
                [[p.rate('sluice_connections_closed_total', 'reason'), '{{reason}}']]) + p.provokedAs(['slow_consumer', 'drain']),
      p.stacked('Turned away, by reason', 'overload, unavailable and keys_unavailable count against the promise that everybody can connect. drain is told during a rollout. The others are the callers.', 'ops',
                [[p.rate('sluice_connections_rejected_total', 'reason'), '{{reason}}']]) + p.provokedAs(['unauthorized', 'overload']),
    ], 8),
    p.row('How long, and how much', [
      p.series('Age at the end', 'How old streams were when they ended. Many that end at the same age: something in front cuts them, such as a timeout of 60 s.', 's', [
        [p.quantile(0.5, 'sluice_connection_duration_seconds'), 'half'],
        [p.quantile(0.9, 'sluice_connection_duration_seconds'), 'nine of ten'],
      ]),
      p.heatmap('Age at the end, all of it', 'Ended streams by their age. A band is a timeout.', 's',
                'sum by (le) (increase(sluice_connection_duration_seconds_bucket{@}[$__rate_interval]))'),
      p.series('Channels', 'Channels with a reader, counted on each node, and subscriptions of all streams to them.', 'short', [
        ['sum(sluice_channels{@})', 'channels'],
        ['sum(sluice_subscriptions{@})', 'subscriptions'],
      ]),
      p.series('Share that could not connect', 'Requests turned away with overload, unavailable or keys_unavailable, of all that should have opened. Promised is a thousandth at most.', 'percentunit', [
        ['sluice:slo_failures:ratio5m{#, slo="connect-availability"}', 'five minutes'],
        ['sluice:slo_failures:ratio1h{#, slo="connect-availability"}', 'an hour'],
      ]) + p.above(0.001, 0.0144) + p.lines + p.provoked,
    ]),
    p.row('Who is let in', [
      p.series('Not recognised or not allowed', 'By code. token_expired: clients that do not renew. invalid_token: another issuer, a changed key, or somebody who tries. keys_unavailable and broker_unavailable are ours.', 'ops',
               [[p.rate('sluice_auth_failures_total', 'code'), '{{code}}']]) + p.provokedAs(['token_missing', 'invalid_token']) + p.above(1, 10),
      p.series('Limits that were hit', 'By limit. What each is, and what its caller is told: docs/limits.md.', 'ops',
               [[p.rate('sluice_limit_hits_total', 'limit'), '{{limit}}']]) + p.provokedAs(['attempts_per_ip', 'connections']) + p.above(1, 10),
      p.series('Ended below HTTP', 'Sockets ended before or between requests. idle is as it should be, and silent are browsers and checks that connect and ask for nothing. head_timeout are requests that begin and do not end, handshake_timeout the same of TLS: networks that lose packets, or clients that are far too slow. These, crowd and resets in numbers are an attack, or a broken client.', 'ops',
               [[p.rate('sluice_transport_ended_total', 'cause'), '{{cause}}']]) + p.provokedAs(['silent', 'head_timeout']) + p.above(1, 10),
      p.series('Places of subjects', 'Places that nodes hold for limits.connections_per_subject. Streams let in uncounted: Redis was away.', 'short', [
        ['sum(sluice_leases{@})', 'places'],
        ['sum(increase(sluice_leases_skipped_total{@}[$__rate_interval]))', 'let in uncounted'],
      ]),
    ]),
    p.row('Certificates, keys, commands', [
      p.stat('Certificate is good for', 'Until the certificate in use expires, of the node where it is soonest.', 's',
             [['min((sluice_tls_certificate_expiry_timestamp_seconds{@} > 0) - time())', '']]) + p.below(172800, 1209600)
      + p.mayBeEmpty('Without TLS there is no certificate.'),
      p.series('Certificate files', 'Changed certificate files, and what came of them. refused: the old one stays in use, until it expires.', 'short',
               [['sum by (outcome) (increase(sluice_tls_reloads_total{@}[$__rate_interval]))', '{{outcome}}']]) + p.above(1, 1),
      p.series('Keys of the issuer', 'How old the keys are that tokens are verified with, and how many there are. With auth.jwt.jwks_url they should be a few minutes old.', 's', [
        ['max by (node) (sluice_jwks_age_seconds{@})', 'age, {{node}}'],
        ['min(sluice_jwks_keys{@})', 'keys'],
      ]) + p.above(900, 3600),
      p.series('Looks for keys', 'Looks at auth.jwt.jwks_url, by outcome. All but loaded: the issuer.', 'ops',
               [[p.rate('sluice_jwks_refreshes_total', 'outcome'), '{{outcome}}']]),
      p.series('Admin commands', 'Commands of operators. unauthorized: somebody tries.', 'short',
               [['sum by (command, outcome) (increase(sluice_admin_commands_total{@}[$__rate_interval]))', '{{command}} {{outcome}}']]),
      p.series('Orders that stand', 'Revocations and disconnects that each node knows. Lines that stay apart: a node cannot read them, and lets in who was shut out.', 'short',
               [['max by (node) (sluice_standing_orders{@})', '{{node}}']]),
    ], 7, true),
  ]
)
