//! Samples what each part of a drill has used of the processors, so that what an ended process used still counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::process;

/// Between two samples; what a process uses after its last one is not seen.
const BETWEEN: Duration = Duration::from_millis(250);

/// The parts whose use is told apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Part {
    Gateways,
    Balancer,
    Redis,
    Clients,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Gateways, Part::Balancer, Part::Redis, Part::Clients];

    pub fn name(self) -> &'static str {
        match self {
            Part::Gateways => "gateways",
            Part::Balancer => "balancer",
            Part::Redis => "redis",
            Part::Clients => "clients",
        }
    }
}

/// Who is watched: processes, and the workers of some.
#[derive(Clone, Debug, Default)]
struct Watched {
    processes: Vec<(Part, u32)>,
    parents: Vec<(Part, u32)>,
    used: BTreeMap<(Part, u32), Duration>,
    samples: Vec<(Instant, BTreeMap<Part, Duration>)>,
}

/// A running meter; stops when dropped.
pub struct Meter {
    watched: Arc<Mutex<Watched>>,
    _sampling: JoinSet<()>,
}

impl Meter {
    /// Begins to sample this process, as the clients.
    pub fn begin() -> Meter {
        let watched = Arc::new(Mutex::new(Watched {
            processes: vec![(Part::Clients, std::process::id())],
            ..Watched::default()
        }));
        let (shared, mut sampling) = (Arc::clone(&watched), JoinSet::new());
        sampling.spawn(async move {
            let mut ticks = interval(BETWEEN);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                shared.lock().expect("no holder panics").sample();
            }
        });
        Meter {
            watched,
            _sampling: sampling,
        }
    }

    /// Counts this process from now on.
    pub fn watch(&self, part: Part, pid: u32) {
        let mut watched = self.watched.lock().expect("no holder panics");
        watched.processes.push((part, pid));
    }

    /// Counts the children of this process, whichever it has.
    pub fn watch_children(&self, part: Part, pid: u32) {
        let mut watched = self.watched.lock().expect("no holder panics");
        watched.parents.push((part, pid));
    }

    /// Processor time over wall time of each part between two moments: 1.0 is one core.
    pub fn share(&self, from: Instant, to: Instant) -> BTreeMap<Part, f64> {
        let watched = self.watched.lock().expect("no holder panics");
        let mut within = watched
            .samples
            .iter()
            .filter(|(when, _)| (from..=to).contains(when));
        let (Some(first), Some(last)) = (within.next(), within.next_back()) else {
            return BTreeMap::new();
        };
        let wall = last.0.duration_since(first.0).as_secs_f64();
        let used = |part: Part| {
            let at = |sample: &BTreeMap<Part, Duration>| sample.get(&part).copied();
            let (first, last) = (
                at(&first.1).unwrap_or_default(),
                at(&last.1).unwrap_or_default(),
            );
            last.saturating_sub(first).as_secs_f64() / wall
        };
        Part::ALL.map(|part| (part, used(part))).into()
    }
}

impl Watched {
    fn sample(&mut self) {
        let mut processes = self.processes.clone();
        for (part, parent) in &self.parents {
            let children = process::children(*parent).unwrap_or_default();
            processes.extend(children.into_iter().map(|child| (*part, child)));
        }
        for process in processes {
            // Of one that is gone, what was seen last stands.
            if let Ok(used) = process::cpu_time(process.1) {
                self.used.insert(process, used);
            }
        }
        let mut sums = BTreeMap::<Part, Duration>::new();
        for ((part, _), used) in &self.used {
            *sums.entry(*part).or_default() += *used;
        }
        self.samples.push((Instant::now(), sums));
    }
}
