//! Where the node is in its life, and the allocator's figures.

use std::ffi::CStr;
use std::ptr;

use prometheus::{Gauge, IntGauge};

use super::kinds::{About, Countdown, Kind, Place, metrics};
use crate::version::{COMMIT, VERSION};

metrics! {
    /// The node as a whole.
    pub struct NodeMetrics {
        /// The running version, and the commit that it was built from or `unknown`; always 1.
        pub build_info: Build = "sluice_build_info",
        /// 1 while `/readyz` answers 200.
        pub ready: IntGauge = "sluice_ready",
        /// 1 while the node is leaving.
        pub draining: IntGauge = "sluice_draining",
        /// Time left of the window over which a leaving node's streams end; 0 when it is over, and while nothing is leaving.
        pub drain_remaining: Countdown = "sluice_drain_remaining_seconds",
    }
}

/// A gauge that stands at 1 and carries which build this is.
#[derive(Clone)]
pub struct Build;

impl Kind for Build {
    fn register(place: &Place, about: &About) -> prometheus::Result<Build> {
        let opts = prometheus::Opts::new(about.name, about.help);
        let opts = opts.const_label("version", VERSION);
        let gauge = IntGauge::with_opts(opts.const_label("commit", COMMIT))?;
        gauge.set(1);
        place.registry.register(Box::new(gauge))?;
        Ok(Build)
    }
}

metrics! {
    /// What the allocator holds. 0 in a program that does not allocate by it.
    pub struct MemoryMetrics {
        /// Bytes that the program has allocated and not given back.
        pub allocated: Gauge = "sluice_memory_allocated_bytes",
        /// Bytes of memory that the allocator keeps resident for it, its own and what is free in between included.
        pub resident: Gauge = "sluice_memory_resident_bytes",
    }
}

impl MemoryMetrics {
    pub(super) fn read(&self) {
        // The figures are those of the last time that somebody asked for new ones.
        if refresh().is_some() {
            self.allocated
                .set(figure(c"stats.allocated").unwrap_or(0.0));
            self.resident.set(figure(c"stats.resident").unwrap_or(0.0));
        }
    }
}

/// Makes the allocator gather its figures (jemalloc(3), `epoch`).
fn refresh() -> Option<()> {
    let mut epoch = 1_u64;
    #[expect(
        unsafe_code,
        reason = "jemalloc is asked in C; a crate that wraps this brings an unmaintained one along"
    )]
    // SAFETY: `epoch` takes and gives a `u64` (jemalloc(3)), whose size is what is told; nothing is kept.
    let failed = unsafe {
        let place = ptr::from_mut(&mut epoch).cast();
        tikv_jemalloc_sys::mallctl(
            c"epoch".as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            place,
            size_of::<u64>(),
        )
    };
    (failed == 0).then_some(())
}

/// One of its figures, of type `size_t`.
fn figure(name: &CStr) -> Option<f64> {
    let (mut value, mut size) = (0_usize, size_of::<usize>());
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: both pointers lead to values that outlive the call, and `size` says how much room there is.
    let failed = unsafe {
        let place = ptr::from_mut(&mut value).cast();
        tikv_jemalloc_sys::mallctl(name.as_ptr(), place, &raw mut size, ptr::null_mut(), 0)
    };
    (failed == 0 && size == size_of::<usize>()).then_some(value as f64)
}
