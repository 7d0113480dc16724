//! Names, and counts that begin at zero.

use super::*;

fn rendered() -> String {
    let metrics = Metrics::register(&Registry::new()).expect("registers");
    String::from_utf8(metrics.render().expect("renders")).expect("UTF-8")
}

/// The names that dashboards, alerts and documents rely on.
#[test]
fn names_are_as_promised() {
    let text = rendered();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter(|line| line.starts_with("sluice_"))
        .collect();
    assert_eq!(
        names,
        [
            "sluice_admin_commands_total counter",
            "sluice_audit_findings_total counter",
            "sluice_auth_failures_total counter",
            "sluice_build_info gauge",
            "sluice_bytes_sent_total counter",
            "sluice_canary_enabled gauge",
            "sluice_canary_latency_seconds histogram",
            "sluice_canary_probes_total counter",
            "sluice_channels gauge",
            "sluice_connection_duration_seconds histogram",
            "sluice_connections gauge",
            "sluice_connections_closed_total counter",
            "sluice_connections_opened_total counter",
            "sluice_connections_rejected_total counter",
            "sluice_delivery_latency_seconds histogram",
            "sluice_draining gauge",
            "sluice_events_delivered_total counter",
            "sluice_events_dropped_total counter",
            "sluice_events_received_total counter",
            "sluice_gaps_found_total counter",
            "sluice_jwks_age_seconds gauge",
            "sluice_jwks_keys gauge",
            "sluice_jwks_refreshes_total counter",
            "sluice_latency_clamped_total counter",
            "sluice_leases gauge",
            "sluice_leases_skipped_total counter",
            "sluice_limit_connections gauge",
            "sluice_limit_hits_total counter",
            "sluice_published_total counter",
            "sluice_redis_connected gauge",
            "sluice_redis_reconnects_total counter",
            "sluice_redis_silence_seconds gauge",
            "sluice_replay_events_total counter",
            "sluice_replay_requests_total counter",
            "sluice_resets_told_total counter",
            "sluice_standing_orders gauge",
            "sluice_stragglers_total counter",
            "sluice_subscriptions gauge",
            "sluice_syncs_total counter",
            "sluice_tls_certificate_expiry_timestamp_seconds gauge",
            "sluice_tls_reloads_total counter",
            "sluice_transport_ended_total counter",
            "sluice_worker_overflows_total counter",
        ]
    );
}

/// A rate over a counter that appears only with its first event misses that event.
#[test]
fn labelled_counters_begin_at_zero() {
    let text = rendered();
    for reason in CloseReason::ALL {
        assert!(
            text.contains(&format!(
                "sluice_connections_closed_total{{reason=\"{reason}\"}} 0\n"
            )),
            "{text}"
        );
    }
    assert!(text.contains("sluice_events_received_total{source=\"ephemeral\"} 0\n"));
    assert!(text.contains("sluice_auth_failures_total{code=\"token_expired\"} 0\n"));
}

#[test]
fn a_counter_counts_its_own_label() {
    let metrics = Metrics::register(&Registry::new()).expect("registers");
    metrics.hub.resets_told.of(ResetReason::Failover).inc();
    let text = String::from_utf8(metrics.render().expect("renders")).expect("UTF-8");
    assert!(text.contains("sluice_resets_told_total{reason=\"failover\"} 1\n"));
    assert!(text.contains("sluice_resets_told_total{reason=\"trimmed\"} 0\n"));
}

/// Two gateways fit in one process.
#[test]
fn two_registries_do_not_meet() {
    let (one, two) = (Registry::new(), Registry::new());
    let first = Metrics::register(&one).expect("registers");
    let second = Metrics::register(&two).expect("registers");
    first.connections.opened.inc();
    assert_eq!(second.connections.opened.get(), 0);
    assert!(
        Metrics::register(&one).is_err(),
        "a name is registered once"
    );
}
