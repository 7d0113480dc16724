//! How often each of many callers may do something: the generic cell rate algorithm, one number per caller. The table
//! is our own since it has to be bounded at every moment, where those of libraries grow until they are swept.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a full table waits before it is swept again: a sweep looks at every entry.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// A rate, and what it forgives at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At least 1.
    pub per_second: u32,
    /// At least 1.
    pub burst: u32,
}

/// Whether a caller may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    /// Not before so long.
    Wait(Duration),
    /// Yes, for the table is full and the caller not in it.
    Uncounted,
}

/// The callers of the last moments.
pub struct Rates<K> {
    /// Nanoseconds between two at an even pace.
    step: u64,
    /// How far a caller may be ahead of that pace.
    ahead: u64,
    most: usize,
    started: Instant,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    /// When each caller is back at an even pace, in nanoseconds since the start; after that it need not be remembered.
    even_at: HashMap<K, u64>,
    swept: Option<u64>,
}

impl<K: Eq + Hash> Rates<K> {
    /// Remembers at most so many callers.
    #[must_use]
    pub fn new(pace: Pace, most: usize) -> Rates<K> {
        let step = 1_000_000_000 / u64::from(pace.per_second.max(1));
        Rates {
            step,
            ahead: step * u64::from(pace.burst.saturating_sub(1)),
            most,
            started: Instant::now(),
            table: Mutex::new(Table {
                even_at: HashMap::new(),
                swept: None,
            }),
        }
    }

    /// Callers that it remembers.
    pub fn remembered(&self) -> usize {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.even_at.len()
    }

    /// Counts one more of this caller's, if it may.
    pub fn take(&self, caller: K) -> Verdict {
        self.take_at(caller, self.started.elapsed())
    }

    fn take_at(&self, caller: K, now: Duration) -> Verdict {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        // What a panic has left behind is as good as any other number.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(even_at) = table.even_at.get_mut(&caller) {
            let ahead = even_at.saturating_sub(now);
            if ahead > self.ahead {
                return Verdict::Wait(Duration::from_nanos(ahead - self.ahead));
            }
            *even_at = now + ahead + self.step;
            return Verdict::Yes;
        }
        if table.even_at.len() >= self.most {
            table.sweep(now);
        }
        if table.even_at.len() >= self.most {
            return Verdict::Uncounted;
        }
        table.even_at.insert(caller, now + self.step);
        Verdict::Yes
    }
}

/// What one caller does in a row: once it has to wait, all that follows waits too, so that nothing overtakes what is
/// tried again.
pub struct Row<'a, K> {
    rates: &'a Rates<K>,
    caller: K,
    wait: Option<Duration>,
}

impl<'a, K: Eq + Hash + Copy> Row<'a, K> {
    #[must_use]
    pub fn new(rates: &'a Rates<K>, caller: K) -> Row<'a, K> {
        Row {
            rates,
            caller,
            wait: None,
        }
    }

    /// Counts the next one, if it may.
    pub fn take(&mut self) -> Verdict {
        self.take_at(self.rates.started.elapsed())
    }

    fn take_at(&mut self, now: Duration) -> Verdict {
        if let Some(wait) = self.wait {
            return Verdict::Wait(wait);
        }
        let verdict = self.rates.take_at(self.caller, now);
        match verdict {
            Verdict::Wait(wait) => self.wait = Some(wait),
            Verdict::Yes | Verdict::Uncounted => {}
        }
        verdict
    }
}

impl<K: Eq + Hash> Table<K> {
    fn sweep(&mut self, now: u64) {
        let interval = u64::try_from(SWEEP_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
        if self.swept.is_some_and(|swept| now < swept + interval) {
            return;
        }
        self.swept = Some(now);
        self.even_at.retain(|_, even_at| *even_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rates(per_second: u32, burst: u32, most: usize) -> Rates<u32> {
        Rates::new(Pace { per_second, burst }, most)
    }

    #[test]
    fn a_burst_passes_and_the_next_one_waits_for_its_turn() {
        let rates = rates(2, 3, 10);
        for _ in 0..3 {
            assert_eq!(rates.take_at(1, SECOND), Verdict::Yes);
        }
        let wait = Verdict::Wait(SECOND / 2);
        assert_eq!(rates.take_at(1, SECOND), wait);
        assert_eq!(rates.take_at(1, SECOND), wait, "asking costs nothing");
        assert_eq!(rates.take_at(2, SECOND), Verdict::Yes, "another caller");
        assert_eq!(rates.take_at(1, SECOND * 3 / 2), Verdict::Yes);
        assert_eq!(rates.take_at(1, SECOND * 3 / 2), wait);
        // After a rest the burst is whole again, and no more than whole.
        for _ in 0..3 {
            assert_eq!(rates.take_at(1, SECOND * 100), Verdict::Yes);
        }
        assert_eq!(rates.take_at(1, SECOND * 100), wait);
    }

    #[test]
    fn in_a_row_nothing_overtakes_what_has_to_wait() {
        let rates = rates(1, 2, 10);
        let mut row = Row::new(&rates, 1);
        assert_eq!(row.take_at(SECOND), Verdict::Yes);
        assert_eq!(row.take_at(SECOND), Verdict::Yes);
        assert_eq!(row.take_at(SECOND), Verdict::Wait(SECOND));
        assert_eq!(row.take_at(SECOND * 60), Verdict::Wait(SECOND));
        let mut next = Row::new(&rates, 1);
        assert_eq!(next.take_at(SECOND * 60), Verdict::Yes);
    }

    #[test]
    fn an_even_pace_passes_for_ever() {
        let rates = rates(10, 1, 1);
        for turn in 0..1_000 {
            assert_eq!(rates.take_at(1, SECOND / 10 * turn), Verdict::Yes);
        }
    }

    #[test]
    fn a_full_table_lets_strangers_through_uncounted_and_forgets_who_rests() {
        let rates = rates(1, 1, 2);
        assert_eq!(rates.take_at(1, SECOND), Verdict::Yes);
        assert_eq!(rates.take_at(2, SECOND * 3 / 2), Verdict::Yes);
        assert_eq!(rates.take_at(3, SECOND * 3 / 2), Verdict::Uncounted);
        let known = rates.take_at(2, SECOND * 3 / 2);
        assert_eq!(known, Verdict::Wait(SECOND), "the known stay counted");
        // The first is at its pace again.
        assert_eq!(rates.take_at(3, SECOND * 2), Verdict::Yes);
        assert_eq!(rates.take_at(4, SECOND * 2), Verdict::Uncounted);
    }
}
