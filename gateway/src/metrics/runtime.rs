//! The threads that run the node's tasks, each with a runtime of its own.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Counter, IntGauge};
use tokio::runtime::Handle;

use super::kinds::{Family, metrics};
use crate::reasons::ThreadClass;

metrics! {
    /// Figures of the runtimes, read at each scrape.
    pub struct RuntimeMetrics {
        /// Time that threads of a class were busy and not waiting for something to do, all of them together.
        pub busy_seconds: Family<ThreadClass, Counter> = "sluice_runtime_busy_seconds_total" by "thread",
        /// Threads of a class.
        pub threads: Family<ThreadClass, IntGauge> = "sluice_runtime_threads" by "thread",
    }
}

/// The runtimes that are looked at. A clone is the same ones.
#[derive(Clone, Default)]
pub struct Runtimes(Arc<Mutex<Vec<(ThreadClass, Handle)>>>);

impl Runtimes {
    /// Looks at the runtime of the calling thread from now on. A thread without one is not counted.
    pub fn add_this(&self, class: ThreadClass) {
        if let Ok(handle) = Handle::try_current() {
            let mut runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            runtimes.push((class, handle));
        }
    }

    pub(super) fn read(&self, metrics: &RuntimeMetrics) {
        let runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
