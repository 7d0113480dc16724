//! Judges how a roll went for the clients: a pure function over their visits. That nothing was lost, repeated or
//! reordered is the checker's matter; here: who had to come back, how often, when, whether all are on new nodes, and whether
//! there was the load that the roll is said to have been under.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::visit::{Ended, Visit};

/// No tenth of a drain window may see more than this share of that drain's reconnects: twice the mean.
const MOST_PER_TENTH: f64 = 0.2;
/// From the first to the last, the reconnects of a drain take at least this share of its window.
const LEAST_SPAN: f64 = 0.8;
/// Below so many, chance alone makes a tenth look crowded.
const ENOUGH_TO_JUDGE: usize = 60;
/// A client on a busy machine reads what it was told so much later at most.
const LATE: Duration = Duration::from_secs(5);
/// Of the events a second that were asked for, so many must have been published over all of the drill. Who was kept waiting
/// catches up, so a busy machine gets there; one that cannot carry the load does not, and its drill shows nothing.
const LEAST_OF_RATE: f64 = 0.9;
/// The same within each drain alone, where what a busy machine publishes late may fall into the time after it.
const LEAST_OF_RATE_IN_A_DRAIN: f64 = 0.5;
const SHOWN: usize = 12;

/// One node that was told to go.
#[derive(Clone, Debug)]
pub struct Drained {
    pub node: String,
    /// Just before its SIGTERM.
    pub told: Instant,
    /// The process was gone.
    pub ended: Instant,
    /// Streams that it counted itself when it was told.
    pub streams: usize,
}

/// The events under which it was rolled.
#[derive(Clone, Debug)]
pub struct Published {
    /// Events per second that were asked for.
    pub rate: u32,
    /// When publishing began, and when it was ended.
    pub from: Instant,
    pub to: Instant,
    /// When each event was handed to Redis.
    pub events: Vec<Instant>,
}

impl Published {
    /// How many events there were in this time.
    pub fn between(&self, from: Instant, to: Instant) -> usize {
        let within = |when: &&Instant| (from..to).contains(*when);
        self.events.iter().filter(within).count()
    }

    /// Events per second in this time.
    pub fn rate_between(&self, from: Instant, to: Instant) -> f64 {
        self.between(from, to) as f64 / seconds(from, to)
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    let seconds = to.saturating_duration_since(from).as_secs_f64();
    seconds.max(f64::MIN_POSITIVE)
}

/// All that is known when a roll is over.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Each client's visits.
    pub clients: &'a [Vec<Visit>],
    pub drained: &'a [Drained],
    pub published: &'a Published,
    /// The nodes that are to serve everybody in the end.
    pub new: &'a BTreeSet<String>,
    pub lead: Duration,
    pub window: Duration,
}

/// What was found; whole when there are no complaints.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub complaints: Vec<String>,
    /// When each client came back, in order.
    pub reconnects: Vec<Instant>,
    /// Asked a node that was leaving, and were sent away.
    pub turned_away: usize,
    /// Streams that ended otherwise than by a drain.
    pub cut: usize,
}

impl Findings {
    /// Fails with the first complaints if there are any.
    pub fn whole(&self) -> Result<()> {
        if self.complaints.is_empty() {
            return Ok(());
        }
        let shown = self.complaints.iter().take(SHOWN);
        let lines: Vec<String> = shown.map(|one| format!("  {one}")).collect();
        bail!(
            "the roll was not as promised, {} complaints:\n{}",
            self.complaints.len(),
            lines.join("\n")
        )
    }
}

/// Judges a roll.
pub fn judge(evidence: &Evidence<'_>) -> Findings {
    let mut found = Findings::default();
    for (client, visits) in evidence.clients.iter().enumerate() {
        each_end(client, visits, &mut found);
        where_it_stands(client, visits, evidence.new, &mut found);
        let again = visits.iter().skip(1).map(|visit| visit.asked);
        found.reconnects.extend(again);
    }
    found.reconnects.sort_unstable();
    if found.turned_away > 0 {
        found.complaints.push(format!(
            "{} times the balancer sent a client to a node that was leaving",
            found.turned_away
        ));
    }
    for drained in evidence.drained {
        drain(drained, evidence, &mut found);
    }
    load(evidence, &mut found);
    found
}

/// There were as many events as were asked for: in all of the drill, and in each drain.
fn load(evidence: &Evidence<'_>, found: &mut Findings) {
    let published = evidence.published;
    let mut look = |when: &str, (from, to): (Instant, Instant), least: f64| {
        let (asked, reached) = (published.rate, published.rate_between(from, to));
        if reached < f64::from(asked) * least {
            let (over, count) = (seconds(from, to), published.between(from, to));
            found.complaints.push(format!(
                "the publisher fell behind {when}: {asked} events/s were asked for, {reached:.1} were reached ({count} in \
                 {over:.1} s); below {:.0} % of the rate a roll is not one under the load it claims: ask for less, or give \
                 it a machine that carries it",
                least * 100.0
            ));
        }
    };
    let whole = (published.from, published.to);
    look("over the whole drill", whole, LEAST_OF_RATE);
    for drained in evidence.drained {
        let when = format!("while {} drained", drained.node);
        let drain = (drained.told, drained.ended);
        look(&when, drain, LEAST_OF_RATE_IN_A_DRAIN);
    }
}

/// Each visit but the present one ended because its node left, and was told so.
fn each_end(client: usize, visits: &[Visit], found: &mut Findings) {
    let Some((_, past)) = visits.split_last() else {
        return;
    };
    for visit in past {
        if !visit.is_drained() {
            found.cut += 1;
            let node = visit.node().unwrap_or("no node");
            let (closed, ended) = (&visit.closed, &visit.ended);
            found.complaints.push(format!(
                "client {client}: its stream on {node} ended with {:?} after the close {:?}",
                ended.as_ref().map(|(_, ended)| ended),
                closed.as_ref().map(|(_, reason)| reason),
            ));
        } else if visit.opened.is_none() {
            found.turned_away += 1;
        }
    }
}

/// In the end each client has a stream, on a new node.
fn where_it_stands(client: usize, visits: &[Visit], new: &BTreeSet<String>, found: &mut Findings) {
    let last = visits.last();
    let open = last.filter(|visit| visit.ended.is_none());
    let node = open.and_then(Visit::node);
    if node.is_none_or(|node| !new.contains(node)) {
        let gave_up = last.is_some_and(|visit| matches!(visit.ended, Some((_, Ended::Refused(_)))));
        found.complaints.push(format!(
            "client {client} is {} in the end{}",
            node.map_or("nowhere".to_owned(), |node| format!("on {node}")),
            if gave_up { ": it gave up for good" } else { "" }
        ));
    }
}

/// One drain took effect on just the streams that the node had, and spread them over its window.
fn drain(drained: &Drained, evidence: &Evidence<'_>, found: &mut Findings) {
    let (name, begun) = (&drained.node, drained.told + evidence.lead);
    let there = |visit: &Visit| visit.node() == Some(name) && visit.is_drained();
    let (mut streams, mut back) = (0, Vec::new());
    for visits in evidence.clients {
        for pair in visits.windows(2).filter(|pair| there(&pair[0])) {
            streams += 1;
            back.push(pair[1].asked);
            let closed = pair[0].closed.as_ref().map(|(when, _)| *when);
            if closed.is_some_and(|when| when < begun || when > drained.ended + LATE) {
                found
                    .complaints
                    .push(format!("{name}: a stream ended outside the drain window"));
            }
        }
    }
    if streams != drained.streams {
        found.complaints.push(format!(
            "{name} had {} streams when it was told to go, but {streams} clients came back from it",
            drained.streams
        ));
    }
    if streams < ENOUGH_TO_JUDGE {
        found.complaints.push(format!(
            "{name}: {streams} streams are too few to judge how they were spread"
        ));
        return;
    }
    spread(name, &back, begun, evidence.window, found);
}

fn spread(name: &str, back: &[Instant], begun: Instant, window: Duration, found: &mut Findings) {
    let tenth = window / 10;
    let mut tenths = BTreeMap::<u128, usize>::new();
    for when in back {
        let at = when.saturating_duration_since(begun).as_micros() / tenth.as_micros().max(1);
        *tenths.entry(at).or_default() += 1;
    }
    for (at, count) in tenths {
        let share = count as f64 / back.len() as f64;
        if share > MOST_PER_TENTH {
            found.complaints.push(format!(
                "{name}: {:.0} % of its clients came back in tenth {at} of the window",
                share * 100.0
            ));
        }
    }
    let span = back.iter().max().zip(back.iter().min());
    let span = span.map_or(Duration::ZERO, |(last, first)| last.duration_since(*first));
    if span < window.mul_f64(LEAST_SPAN) {
        found.complaints.push(format!(
            "{name}: all its clients came back within {span:?}, the window is {window:?}"
        ));
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
