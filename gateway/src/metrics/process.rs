//! The process's own figures under the names that Prometheus's client libraries share, read from `/proc` at
//! each scrape. (The `prometheus` crate's own collector counts CPU in whole seconds and brings `procfs` along.)

use std::fs;

use prometheus::{Counter, Gauge};

use super::kinds::metrics;

/// Clock ticks per second in `/proc`: fixed to 100 in Linux's interface to programs, whatever the kernel's own.
const TICKS_PER_SECOND: f64 = 100.0;

metrics! {
    /// CPU, memory, descriptors and start time. Elsewhere than on Linux they stay 0.
    pub struct ProcessMetrics {
        /// User and system CPU time spent.
        pub cpu_seconds: Counter = "process_cpu_seconds_total",
        /// Resident memory.
        pub resident_bytes: Gauge = "process_resident_memory_bytes",
        /// Open file descriptors.
        pub open_fds: Gauge = "process_open_fds",
        /// File descriptors allowed.
        pub max_fds: Gauge = "process_max_fds",
        /// Threads.
        pub threads: Gauge = "process_threads",
        /// Start of the process, Unix time.
        pub start_time_seconds: Gauge = "process_start_time_seconds",
    }
}

impl ProcessMetrics {
    /// What cannot be read keeps its last value: a scrape must not fail for it.
    pub(super) fn read(&self) -> Option<()> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let stat = Stat::parse(&stat)?;
        // A counter can only be raised.
        self.cpu_seconds
            .inc_by((stat.cpu_seconds - self.cpu_seconds.get()).max(0.0));
        self.threads.set(stat.threads);
        let status = fs::read_to_string("/proc/self/status").ok()?;
        self.resident_bytes.set(field(&status, "VmRSS:")? * 1024.0);
        let boot = fs::read_to_string("/proc/stat").ok()?;
        self.start_time_seconds
            .set(field(&boot, "btime ")? + stat.started_after_boot);
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        self.max_fds.set(field(&limits, "Max open files")?);
        self.open_fds
            .set(fs::read_dir("/proc/self/fd").ok()?.count() as f64);
        Some(())
    }
}

/// The fields of `/proc/self/stat` that are used (proc_pid_stat(5)).
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    started_after_boot: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The name in parentheses may hold spaces and parentheses itself; fields are counted after the last one.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_seconds: (number(14)? + number(15)?) / TICKS_PER_SECOND,
            threads: number(20)?,
            started_after_boot: number(22)? / TICKS_PER_SECOND,
        })
    }
}

/// The first number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::kinds::Place;
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_fields() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 1000 5 6";
        let stat = Stat::parse(text).expect("parses");
        assert_eq!(
            (stat.cpu_seconds, stat.threads, stat.started_after_boot),
            (3.0, 9.0, 10.0)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_descriptors_and_a_start() {
        let place = Place::new(&prometheus::Registry::new());
        let metrics = ProcessMetrics::register(&place).expect("registers");
        metrics.read().expect("/proc is readable");
        assert!(metrics.resident_bytes.get() > 1e6);
        assert!(metrics.open_fds.get() >= 3.0 && metrics.open_fds.get() <= metrics.max_fds.get());
        assert!(metrics.start_time_seconds.get() > 1.6e9);
        let before = metrics.cpu_seconds.get();
        metrics.read().expect("/proc is readable");
        assert!(metrics.cpu_seconds.get() >= before);
    }
}
