//! The figures of a drill: what is written down, drawn and printed.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{checker::Report, client::Log};

use super::{Drained, Findings, Plan, Visit, meter::Meter, roll::Facts};

/// How long after the last drain clients may still be on their way: the longest `retry:` of a drain.
const COMING_BACK: Duration = Duration::from_secs(2);

/// One second of the drill, from its begin on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    pub reconnects: u32,
    /// The 99th percentile of the latency of what was published in it, in ms.
    pub p99: f64,
}

/// What a drill measured.
#[derive(Clone, Debug)]
pub struct Figures {
    pub seconds: Vec<Second>,
    /// From SIGTERM to the end of each old node: name, begin and end in seconds.
    pub drains: Vec<(String, f64, f64)>,
    /// All of it, to be written down.
    pub json: Value,
}

/// Latency by when an event was published, in µs.
struct Latency {
    calm: Histogram<u64>,
    rolling: Histogram<u64>,
    /// During the roll, to clients whose stream was open when it was published.
    connected: Histogram<u64>,
    by_second: Vec<Histogram<u64>>,
}

impl Figures {
    /// Takes the figures from what the clients saw and the drill knows.
    pub(super) fn of(
        plan: &Plan,
        facts: &Facts,
        (logs, visits): (&[Log], &[Vec<Visit>]),
        (report, findings): (&Report, &Findings),
        meter: &Meter,
    ) -> Result<Figures> {
        let times = &facts.times;
        let span = times.ended.duration_since(times.begun).as_secs_f64();
        let latency = latency(facts, logs, span.ceil() as usize)?;
        let mut seconds = vec![Second::default(); latency.by_second.len()];
        for when in &findings.reconnects {
            let at = when.saturating_duration_since(times.begun).as_secs() as usize;
            if let Some(second) = seconds.get_mut(at) {
                second.reconnects += 1;
            }
        }
        for (second, latencies) in seconds.iter_mut().zip(&latency.by_second) {
            second.p99 = ms(latencies.value_at_quantile(0.99));
        }
        let since = |when: Instant| when.duration_since(times.begun).as_secs_f64();
        let drains = facts.drained.iter();
        let cores = |from, to| -> BTreeMap<&str, f64> {
            let share = meter.share(from, to);
            share
                .into_iter()
                .map(|(part, share)| (part.name(), (share * 1000.0).round() / 1000.0))
                .collect()
        };
        let json = json!({
            "clients": plan.clients, "channels": plan.channels, "nodes": plan.nodes,
            "events_per_second": {
                "asked": plan.rate,
                "reached": tenths(facts.published.rate_between(facts.published.from, facts.published.to)),
            },
            "events": facts.journal.records.len(), "versions": facts.versions,
            "drain_deadline_s": plan.deadline.as_secs_f64(), "readiness_lead_s": plan.lead.as_secs_f64(),
            "pre_stop_s": plan.pre_stop.as_secs_f64(),
            "seconds": span, "rolling_seconds": times.rolled.duration_since(times.rolling).as_secs_f64(),
            "delivered": report.delivered, "broken_promises": report.violations.len(), "resets": report.resets.len(),
            "complaints": findings.complaints.len(), "turned_away": findings.turned_away, "cut": findings.cut,
            "reconnects": findings.reconnects.len(), "reconnects_per_client": per_client(visits),
            "reconnects_peak_per_second": seconds.iter().map(|second| second.reconnects).max(),
            "reconnects_peak_per_100ms": peak(&findings.reconnects, Duration::from_millis(100)),
            "drains": facts.drained.iter().map(|drained| drain(drained, plan, facts, visits)).collect::<Vec<_>>(),
            "away_ms": quantiles(&away(visits)?),
            "latency_ms": {
                "calm": quantiles(&latency.calm), "rolling": quantiles(&latency.rolling),
                "rolling_connected": quantiles(&latency.connected),
            },
            "cores": {"calm": cores(times.begun, times.rolling), "rolling": cores(times.rolling, times.rolled)},
            "balancer_workers_in_the_end": facts.workers, "redis": version(&facts.redis),
        });
        Ok(Figures {
            seconds,
            drains: drains
                .map(|one| (one.node.clone(), since(one.told), since(one.ended)))
                .collect(),
            json,
        })
    }
}

fn latency(facts: &Facts, logs: &[Log], seconds: usize) -> Result<Latency> {
    let mut latency = Latency {
        calm: Histogram::new(3)?,
        rolling: Histogram::new(3)?,
        connected: Histogram::new(3)?,
        by_second: vec![Histogram::new(3)?; seconds],
    };
    let published: HashMap<(&str, &str), Instant> = facts
        .journal
        .records
        .iter()
        .filter_map(|record| {
            let when = facts
                .moments
                .get(&(record.channel.clone(), record.serial))?;
            Some(((record.channel.as_str(), record.position()?), *when))
        })
        .collect();
    let rolling = facts.times.rolling..facts.times.rolled + COMING_BACK;
    for log in logs {
        let channel = log.channels.first().context("a client without a channel")?;
        let mut opened = None;
        for (seen, block) in log.timed_blocks() {
            if block.event == "sluice.open" {
                opened = Some(seen);
            }
            let Some(when) = published.get(&(channel.as_str(), block.last_event_id.as_str()))
            else {
                continue;
            };
            if block.event.starts_with("sluice.") {
                continue;
            }
            let micros = seen.saturating_duration_since(*when).as_micros().max(1) as u64;
            if rolling.contains(when) {
                latency.rolling.record(micros)?;
                if opened.is_some_and(|opened| opened <= *when) {
                    latency.connected.record(micros)?;
                }
            } else {
                latency.calm.record(micros)?;
            }
            let second = when.saturating_duration_since(facts.times.begun).as_secs() as usize;
            if let Some(histogram) = latency.by_second.get_mut(second) {
                histogram.record(micros)?;
            }
        }
    }
    Ok(latency)
}

/// How long clients were without a stream: from the end of one to the `sluice.open` of the next, in µs.
fn away(visits: &[Vec<Visit>]) -> Result<Histogram<u64>> {
    let mut away = Histogram::new(3)?;
    for pair in visits.iter().flat_map(|visits| visits.windows(2)) {
        if let (Some((ended, _)), Some((opened, _))) = (&pair[0].ended, &pair[1].opened) {
            away.record(opened.duration_since(*ended).as_micros().max(1) as u64)?;
        }
    }
    Ok(away)
}

/// How many clients came back so often.
fn per_client(visits: &[Vec<Visit>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for visits in visits {
        *counts
            .entry(visits.len().saturating_sub(1).to_string())
            .or_default() += 1;
    }
    counts
}

fn drain(drained: &Drained, plan: &Plan, facts: &Facts, visits: &[Vec<Visit>]) -> Value {
    let there = |visit: &Visit| visit.node() == Some(drained.node.as_str()) && visit.is_drained();
    let pairs = visits.iter().flat_map(|visits| visits.windows(2));
    let mut back: Vec<Instant> = pairs
        .filter(|pair| there(&pair[0]))
        .map(|pair| pair[1].asked)
        .collect();
    back.sort_unstable();
    json!({
        "node": drained.node, "streams": drained.streams,
        "seconds": drained.ended.duration_since(drained.told).as_secs_f64(),
        "mean_per_second": drained.streams as f64 / plan.window().as_secs_f64(),
        "peak_per_second": peak(&back, Duration::from_secs(1)),
        "events_per_second": tenths(facts.published.rate_between(drained.told, drained.ended)),
    })
}

/// The most of `sorted` within any window of this length.
fn peak(sorted: &[Instant], window: Duration) -> usize {
    let (mut from, mut most) = (0, 0);
    for (to, when) in sorted.iter().enumerate() {
        while when.duration_since(sorted[from]) >= window {
            from += 1;
        }
        most = most.max(to + 1 - from);
    }
    most
}

fn quantiles(of: &Histogram<u64>) -> Value {
    let at = |quantile| ms(of.value_at_quantile(quantile));
    json!({"count": of.len(), "p50": at(0.5), "p99": at(0.99), "max": ms(of.max())})
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn ms(micros: u64) -> f64 {
    (micros as f64 / 10.0).round() / 100.0
}

fn version(info: &str) -> &str {
    info.lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap_or_default()
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_fullest_window_wherever_it_begins() {
        let begun = Instant::now();
        let at = |ms: &[u64]| -> Vec<Instant> {
            ms.iter()
                .map(|ms| begun + Duration::from_millis(*ms))
                .collect()
        };
        let window = Duration::from_millis(100);
        assert_eq!(peak(&at(&[]), window), 0);
        assert_eq!(peak(&at(&[0, 100, 200]), window), 1);
        assert_eq!(peak(&at(&[0, 95, 105, 190, 400]), window), 3);
    }
}
