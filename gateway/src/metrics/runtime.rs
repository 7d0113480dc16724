//! The threads that run the node's tasks, each with a runtime of its own. (How many tasks they have, tokio tells only of those
//! outside of a `LocalSet`, and all of a worker's are inside of one.)

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Counter, Histogram, IntGauge};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::LATENCIES;
use super::kinds::{Family, Histograms, metrics};
use crate::reasons::ThreadClass;

/// How often a thread's lag is measured: often enough that no stall of a length that a reader notices is missed.
const EVERY: Duration = Duration::from_millis(100);
/// The most that one stall is told of: 10 seconds of it.
const MOST_TOLD: u32 = 100;

metrics! {
    /// Figures of the runtimes, the first two read at each scrape.
    pub struct RuntimeMetrics {
        /// Time that threads of a class were busy and not waiting for something to do, all of them together.
        pub busy_seconds: Family<ThreadClass, Counter> = "sluice_runtime_busy_seconds_total" by "thread",
        /// Threads of a class.
        pub threads: Family<ThreadClass, IntGauge> = "sluice_runtime_threads" by "thread",
        /// How late a timer of each thread fires that is due every 100 ms: what somebody waits who wants something of the thread.
        pub lag: Histograms<ThreadClass> = "sluice_runtime_lag_seconds" by "thread" in LATENCIES,
    }
}

/// The runtimes that are looked at. A clone is the same ones.
#[derive(Clone)]
pub struct Runtimes {
    known: Arc<Mutex<Vec<(ThreadClass, Handle)>>>,
    lag: Histograms<ThreadClass>,
}

/// Measures the lag of a thread's runtime until it is dropped.
pub struct LagWatch(#[expect(dead_code, reason = "held for its drop")] JoinSet<Infallible>);

impl Runtimes {
    pub(super) fn new(metrics: &RuntimeMetrics) -> Runtimes {
        Runtimes {
            known: Arc::default(),
            lag: metrics.lag.clone(),
        }
    }

    /// Looks at the runtime of the calling thread from now on. A thread without one is not counted. All threads but the
    /// broker's must be inside of a `LocalSet`.
    #[must_use]
    pub fn watch_this(&self, class: ThreadClass) -> LagWatch {
        let mut tasks = JoinSet::new();
        if let Ok(handle) = Handle::try_current() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.push((class, handle));
            let lag = measure(self.lag.of(class).clone());
            match class {
                ThreadClass::Broker => tasks.spawn(lag),
                // In the queue of the tasks that it is to be measured for.
                ThreadClass::Worker | ThreadClass::Admin | ThreadClass::Main => {
                    tasks.spawn_local(lag)
                }
            };
        }
        LagWatch(tasks)
    }

    pub(super) fn read(&self, metrics: &RuntimeMetrics) {
        let runtimes = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for class in ThreadClass::ALL {
            let (mut busy, mut threads) = (0.0, 0);
            for (_, handle) in runtimes.iter().filter(|(of, _)| of == class) {
                let runtime = handle.metrics();
                for worker in 0..runtime.num_workers() {
                    busy += runtime.worker_total_busy_duration(worker).as_secs_f64();
                    threads += 1;
                }
            }
            let counter = metrics.busy_seconds.of(*class);
            // A counter can only be raised.
            counter.inc_by((busy - counter.get()).max(0.0));
            metrics.threads.of(*class).set(threads);
        }
    }
}

async fn measure(lag: Histogram) -> Infallible {
    let mut due = Instant::now() + EVERY;
    loop {
        sleep_until(due).await;
        due = tell(&lag, due, Instant::now());
    }
}

/// Tells of each time that was due until now, not of the first alone: whoever had come then would have waited, too, and a
/// long stall would else weigh no more than a short one. Returns when the next time is due.
fn tell(lag: &Histogram, mut due: Instant, now: Instant) -> Instant {
    for _ in 0..MOST_TOLD {
        if due > now {
            return due;
        }
        lag.observe((now - due).as_secs_f64());
        due += EVERY;
    }
    now + EVERY
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, Registry};
    use tokio::task::LocalSet;
    use tokio::time::sleep;

    use super::super::Metrics;
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn histogram() -> Histogram {
        Histogram::with_opts(HistogramOpts::new("lag", "lag")).expect("a histogram")
    }

    fn about(seconds: f64, wanted: f64) -> bool {
        (seconds - wanted).abs() < 0.02
    }

    /// A stall of 950 ms is 0.95 s for who came first, 0.05 s for who came last; one without end is told of so often.
    #[test]
    fn a_stall_is_told_of_as_those_saw_it_who_came_meanwhile() {
        let (lag, due) = (histogram(), Instant::now());
        assert_eq!(tell(&lag, due, due), due + EVERY);
        assert_eq!((lag.get_sample_count(), lag.get_sample_sum()), (1, 0.0));
        assert_eq!(tell(&lag, due, due + 950 * MILLISECOND), due + 10 * EVERY);
        assert_eq!(lag.get_sample_count(), 11);
        assert!(about(lag.get_sample_sum(), 5.0), "{lag:?}");
        let late = due + Duration::from_secs(3_600);
        assert_eq!(tell(&lag, due, late), late + EVERY);
        assert_eq!(lag.get_sample_count(), 11 + u64::from(MOST_TOLD));
    }

    /// A worker that is really held up is late; another thread is not; and what is no longer watched tells nothing.
    #[test]
    fn the_thread_that_is_held_up_is_the_late_one() {
        let metrics = Metrics::register(&Registry::new()).expect("registers");
        let samples = |class: ThreadClass| metrics.runtimes.lag.of(class).get_sample_count();
        let worst = |class: ThreadClass| metrics.runtimes.lag.of(class).get_sample_sum();
        let runtime = || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            { runtime }.enable_time().build().expect("a runtime")
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tasks = LocalSet::new();
                let held = tasks.run_until(async {
                    let watch = metrics.runtimes.watch_this(ThreadClass::Worker);
                    sleep(EVERY).await;
                    std::thread::sleep(20 * EVERY);
                    sleep(EVERY).await;
                    drop(watch);
                    let told = samples(ThreadClass::Worker);
                    sleep(3 * EVERY).await;
                    assert_eq!(samples(ThreadClass::Worker), told);
                });
                runtime().block_on(held);
            });
            scope.spawn(|| {
                runtime().block_on(async {
                    let _watch = metrics.runtimes.watch_this(ThreadClass::Broker);
                    sleep(23 * EVERY).await;
                });
            });
        });
        assert!(samples(ThreadClass::Worker) >= 20 && samples(ThreadClass::Broker) >= 20);
        // 2 s, 1.9 s and so on, against a millisecond or two each.
        assert!(
            worst(ThreadClass::Worker) > 18.0,
            "{}",
            worst(ThreadClass::Worker)
        );
        assert!(
            worst(ThreadClass::Broker) < 9.0,
            "{}",
            worst(ThreadClass::Broker)
        );
    }
}
