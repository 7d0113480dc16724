//! Every metric is documented as it is declared, begins at 0, and counts for itself.

use std::collections::BTreeMap;

use prometheus::proto::MetricType;

use super::*;
use crate::reasons::{CloseReason, NodeLimit, ResetReason};

fn metrics() -> Metrics {
    Metrics::register(&Registry::new()).expect("registers")
}

fn rendered(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render().expect("renders")).expect("UTF-8")
}

/// The two tables of docs/metrics.md as the registry would write them.
fn tables(registry: &Registry) -> String {
    let (mut names, mut values) = (String::new(), String::new());
    for family in registry.gather() {
        let mut labels: Vec<(String, Vec<String>)> = Vec::new();
        for label in family
            .get_metric()
            .iter()
            .flat_map(|metric| metric.get_label())
        {
            let value = label.value().to_owned();
            match labels.iter_mut().find(|(name, _)| name == label.name()) {
                Some((_, known)) if known.contains(&value) => {}
                Some((_, known)) => known.push(value),
                None => labels.push((label.name().to_owned(), vec![value])),
            }
        }
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY | MetricType::UNTYPED => panic!("{}", family.name()),
        };
        let named: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
        let named = match named.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", named.join(",")),
        };
        let (name, help) = (family.name(), family.help());
        names += &format!("| `{name}{named}` | {kind} | {help} |\n");
        // The build is not one of a closed set.
        let is_free = |label: &str| ["version", "commit"].contains(&label);
        for (label, mut known) in labels.into_iter().filter(|(label, _)| !is_free(label)) {
            known.sort_unstable();
            values += &format!("| `{name}{{{label}}}` | `{}` |\n", known.join("`, `"));
        }
    }
    format!(
        "| metric | type | meaning |\n| --- | --- | --- |\n{names}\n## Label values\n\n\
         | metric | values |\n| --- | --- |\n{values}"
    )
}

/// Names, types, HELP, labels and their values: what is missing, too much, doubled or different fails. To mend the page,
/// put there what is printed.
#[test]
fn the_page_of_metrics_is_what_the_registry_has() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));
    let registry = Registry::new();
    let registered = Metrics::register(&registry).expect("registers");
    let wanted = tables(&registered.place.registry);
    let begin = page.find("| metric | type").expect("the tables");
    let end = page.find("\n## How to read them").expect("their end");
    assert!(
        page[begin..end] == wanted,
        "docs/metrics.md must say:\n\n{wanted}"
    );
}

/// Names and units follow what Prometheus asks for, and HELP is a sentence.
#[test]
fn names_have_prefix_and_unit_and_help_is_a_sentence() {
    for family in metrics().place.registry.gather() {
        let (name, help) = (family.name(), family.help());
        assert!(
            name.starts_with("sluice_") || name.starts_with("process_"),
            "{name}"
        );
        let is_counter = family.get_field_type() == MetricType::COUNTER;
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        if family.get_field_type() == MetricType::HISTOGRAM {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        assert!(
            help.len() > 5 && help.ends_with('.') && !help.contains('\n'),
            "{name}: {help}"
        );
    }
}

/// A rate over a counter that appears only with its first event misses that event.
#[test]
fn every_value_of_every_label_begins_at_zero() {
    let text = rendered(&metrics());
    for reason in CloseReason::ALL {
        let sample = format!("sluice_connections_closed_total{{reason=\"{reason}\"}} 0\n");
        assert!(text.contains(&sample), "{text}");
    }
    for sample in [
        "sluice_events_received_total{source=\"ephemeral\"} 0\n",
        "sluice_transport_ended_total{cause=\"silent\"} 0\n",
        "sluice_runtime_lag_seconds_count{thread=\"worker\"} 0\n",
        "sluice_auth_failures_total{code=\"token_expired\"} 0\n",
        "sluice_redis_command_errors_total{class=\"audit\"} 0\n",
        "sluice_redis_command_duration_seconds_count{class=\"ticket\"} 0\n",
        "sluice_admin_commands_total{command=\"explain\",outcome=\"refused\"} 0\n",
        "sluice_limit{limit=\"sockets\"} 0\n",
        "sluice_runtime_busy_seconds_total{thread=\"broker\"} 0\n",
    ] {
        assert!(text.contains(sample), "{sample}");
    }
}

#[test]
fn a_counter_counts_its_own_label() {
    let metrics = metrics();
    metrics.hub.resets_told.of(ResetReason::Failover).inc();
    metrics.limits.tell(NodeLimit::Backfills, 3);
    let text = rendered(&metrics);
    assert!(text.contains("sluice_resets_told_total{reason=\"failover\"} 1\n"));
    assert!(text.contains("sluice_resets_told_total{reason=\"trimmed\"} 0\n"));
    assert!(text.contains("sluice_limit_used{limit=\"backfills\"} 3\n"));
    assert!(text.contains("sluice_limit_used{limit=\"sockets\"} 0\n"));
}

/// Of a label with two names, each pair is one of its own.
#[test]
fn pairs_of_labels_do_not_meet() {
    use crate::reasons::{AdminCommand, AdminOutcome};
    let metrics = metrics();
    let mut counts = BTreeMap::new();
    for (n, command) in AdminCommand::ALL.iter().enumerate() {
        for (m, outcome) in AdminOutcome::ALL.iter().enumerate() {
            let count = (10 * n + m) as u64;
            metrics
                .control
                .commands
                .of((*command, *outcome))
                .inc_by(count);
            counts.insert((command.as_label(), outcome.as_label()), count);
        }
    }
    let text = rendered(&metrics);
    for ((command, outcome), count) in counts {
        let sample = format!("{{command=\"{command}\",outcome=\"{outcome}\"}} {count}\n");
        assert!(text.contains(&sample), "{sample}");
    }
}

/// The node tells the most that any thread has told last.
#[test]
fn the_peak_is_that_of_the_thread_that_is_worst() {
    let metrics = metrics();
    let (one, two) = (
        metrics.connections.lag_events.part(),
        metrics.connections.lag_events.part(),
    );
    one.set(7);
    two.set(400);
    assert!(rendered(&metrics).contains("sluice_client_lag_events 400\n"));
    two.set(0);
    assert!(rendered(&metrics).contains("sluice_client_lag_events 7\n"));
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
