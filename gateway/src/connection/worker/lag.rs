//! How far streams are behind their channels: seen by the sweep, which looks at each of them anyway.

/// A stream that is more events behind than this is counted as lagging.
pub const LAGGING_EVENTS: u64 = 100;

/// What a whole round of sweeps has seen. Polls keep no pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Events that the last of them is behind.
    pub most: u64,
    /// Streams that are more than [`LAGGING_EVENTS`] behind.
    pub lagging: usize,
}

/// The round that is over, and the one under way.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub last: Lag,
    now: Lag,
}

impl Rounds {
    pub(super) fn add(&mut self, behind: u64) {
        self.now.most = self.now.most.max(behind);
        self.now.lagging += usize::from(behind > LAGGING_EVENTS);
    }

    pub(super) fn end(&mut self) {
        self.last = std::mem::take(&mut self.now);
    }
}
