//! The node's life: how many streams it may carry, and how it leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How streams end when the node leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Time between readiness falling and the first stream that ends.
    pub lead: Duration,
    /// Time over which they end.
    pub window: Duration,
}

/// Counts streams against the node's limit. A clone counts the same ones.
#[derive(Clone, Debug)]
pub struct Admission {
    open: Arc<AtomicUsize>,
    limit: usize,
}

/// The right to one stream; dropped, it is free again.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Admission {
    /// Room for so many streams.
    #[must_use]
    pub fn new(limit: usize) -> Admission {
        Admission {
            open: Arc::default(),
            limit,
        }
    }

    /// Takes a place, if there is one.
    #[must_use]
    pub fn admit(&self) -> Option<Permit> {
        let taken = self.open.fetch_add(1, Ordering::AcqRel);
        let permit = Permit(Arc::clone(&self.open));
        (taken < self.limit).then_some(permit)
    }

    /// Streams that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// The most that may be open.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_after_the_last_is_refused_and_a_dropped_permit_frees_one() {
        let admission = Admission::new(1);
        let permit = admission.admit().expect("the first has room");
        assert!(admission.admit().is_none());
        assert_eq!(admission.open(), 1);
        drop(permit);
        assert_eq!(admission.open(), 0);
        assert!(admission.admit().is_some());
    }
}
