//! What this node tells about itself in Redis: its streams, and its subscribers per channel as the workers count them.
//! A report that cannot be written is a warning and nothing more.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sluice_wire::channel::Channel;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::rare::Rare;
use super::redis::DataLink;
use crate::hub::exchange::WorkerId;
use crate::version::VERSION;

/// Most channels of a report, those with most subscribers first.
const REPORTED_CHANNELS: usize = 10_000;
/// A report outlives so many intervals.
const LASTING: u32 = 3;
/// How long the workers may take to count; one that takes longer is reported as it was.
const COUNT_WAIT: Duration = Duration::from_secs(1);
/// How long a leaving node tries to delete its report, which expires anyway.
const LEAVE_WAIT: Duration = Duration::from_millis(500);

/// Whom to report, and how often.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// The node's name, the same as in `sluice.open`.
    pub node: String,
    pub interval: Duration,
}

/// What one worker has counted.
#[derive(Debug, Default)]
pub struct Count {
    pub streams: usize,
    pub subscribers: Vec<(Channel, usize)>,
}

/// A worker's end: hears when to count, and answers without waiting.
#[derive(Debug)]
pub struct Counter {
    worker: WorkerId,
    asked: watch::Receiver<u64>,
    answers: mpsc::Sender<(WorkerId, u64, Count)>,
}

/// The reporter's end.
pub(super) struct Counters {
    ask: watch::Sender<u64>,
    answers: mpsc::Receiver<(WorkerId, u64, Count)>,
    /// By worker, as last told.
    known: Vec<Count>,
}

/// Writes a report at every interval, and deletes it when the node leaves.
pub(super) struct Reporter {
    settings: ReportSettings,
    counters: Counters,
    data: Arc<DataLink>,
    unwritten: Rare,
}

/// A node's report as it stands in Redis.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub node: &'a str,
    pub version: &'static str,
    /// Unix time in milliseconds by the clock of Redis.
    pub at: u64,
    pub connections: usize,
    #[serde(serialize_with = "in_order")]
    pub channels: Vec<(Channel, usize)>,
    pub channels_left_out: usize,
}

/// Ends for so many workers, and the one that asks them.
pub(super) fn counters(workers: usize) -> (Counters, Vec<Counter>) {
    let (ask, asked) = watch::channel(0);
    let (sender, answers) = mpsc::channel(workers.max(1));
    let ends = (0..workers).map(|worker| Counter {
        worker,
        asked: asked.clone(),
        answers: sender.clone(),
    });
    let ends = ends.collect();
    let known = (0..workers).map(|_| Count::default()).collect();
    let counters = Counters {
        ask,
        answers,
        known,
    };
    (counters, ends)
}

impl Counter {
    /// Counts if that was asked for since the last time.
    pub fn count(&mut self, count: impl FnOnce() -> Count) {
        if self.asked.has_changed().unwrap_or(false) {
            let round = *self.asked.borrow_and_update();
            // A full queue holds this worker's own late answer: it is reported as it was.
            self.answers.try_send((self.worker, round, count())).ok();
        }
    }
}

impl Counters {
    /// Asks every worker, and waits for those who answer in time.
    async fn gather(&mut self) {
        let round = *self.ask.borrow() + 1;
        self.ask.send_replace(round);
        let mut heard = BTreeSet::new();
        let hear = async {
            while heard.len() < self.known.len()
                && let Some((worker, answered, count)) = self.answers.recv().await
            {
                if let Some(known) = self.known.get_mut(worker) {
                    *known = count;
                }
                if answered == round {
                    heard.insert(worker);
                }
            }
        };
        if timeout(COUNT_WAIT, hear).await.is_err() {
            tracing::debug!("a worker has not counted its subscribers in time");
        }
    }

    fn report<'a>(&self, node: &'a str, at: u64) -> Report<'a> {
        let mut sums: HashMap<&Channel, usize> = HashMap::new();
        for (channel, subscribers) in self.known.iter().flat_map(|count| &count.subscribers) {
            *sums.entry(channel).or_default() += subscribers;
        }
        let mut channels: Vec<(&Channel, usize)> = sums.into_iter().collect();
        channels.sort_unstable_by_key(|(channel, subscribers)| (Reverse(*subscribers), *channel));
        let left_out = channels.len().saturating_sub(REPORTED_CHANNELS);
        channels.truncate(REPORTED_CHANNELS);
        let owned = |(channel, subscribers): (&Channel, usize)| (channel.clone(), subscribers);
        Report {
            node,
            version: VERSION,
            at,
            connections: self.known.iter().map(|count| count.streams).sum(),
            channels: channels.into_iter().map(owned).collect(),
            channels_left_out: left_out,
        }
    }
}

impl Reporter {
    pub(super) fn new(
        settings: ReportSettings,
        counters: Counters,
        data: Arc<DataLink>,
    ) -> Reporter {
        Reporter {
            settings,
            counters,
            data,
            unwritten: Rare::default(),
        }
    }

    /// Reports until the future is dropped.
    pub(super) async fn run(&mut self) {
        let mut due = interval(self.settings.interval);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            self.counters.gather().await;
            if let Err(error) = self.write().await
                && let Some(left_out) = self.unwritten.due()
            {
                tracing::warn!(
                    error,
                    left_out,
                    "this node's report could not be written to Redis"
                );
            }
        }
    }

    /// Deletes the report of a node that ends.
    pub(super) async fn leave(&self) {
        let deleted = self.data.delete_report(&self.settings.node);
        match timeout(LEAVE_WAIT, deleted).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error, "this node's report was not deleted"),
            Err(_) => tracing::debug!("this node's report was not deleted in time"),
        }
    }

    async fn write(&self) -> Result<(), String> {
        let at = self.data.report_time().await?;
        let report = self.counters.report(&self.settings.node, at);
        let lasting = self.settings.interval * LASTING;
        self.data.write_report(&report, lasting).await
    }
}

/// An object whose members keep their order.
fn in_order<S: Serializer>(
    channels: &[(Channel, usize)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        channels
            .iter()
            .map(|(channel, count)| (channel.as_str(), count)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).expect("valid")
    }

    #[test]
    fn a_report_adds_the_workers_up_and_has_the_largest_channels_first() {
        let (mut counters, _ends) = counters(2);
        let subscribers = vec![(channel("a"), 1), (channel("b"), 2)];
        counters.known[0] = Count {
            streams: 3,
            subscribers,
        };
        counters.known[1] = Count {
            streams: 4,
            subscribers: vec![(channel("b"), 2), (channel("c"), 1)],
        };
        let json = serde_json::to_string(&counters.report("host:1", 7)).expect("JSON");
        let expected = format!(
            r#"{{"node":"host:1","version":"{VERSION}","at":7,"connections":7,"channels":{{"b":4,"a":1,"c":1}},"channels_left_out":0}}"#
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn a_report_leaves_out_the_smallest_channels_and_says_how_many() {
        let (mut counters, _ends) = counters(1);
        let many = (0..REPORTED_CHANNELS + 5).map(|n| (channel(&format!("c{n}")), n + 1));
        counters.known[0].subscribers = many.collect();
        let report = counters.report("n", 0);
        assert_eq!(
            (report.channels.len(), report.channels_left_out),
            (REPORTED_CHANNELS, 5)
        );
        assert_eq!(report.channels[0].1, REPORTED_CHANNELS + 5);
        assert_eq!(report.channels.last().map(|(_, count)| *count), Some(6));
    }
}
