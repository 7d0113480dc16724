//! How much each of many callers holds at the same time. An entry lives as long as something is held, so that the table
//! is bounded by what all may hold together.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// What callers hold. A clone is the same.
pub struct Shares<K: Eq + Hash> {
    most: usize,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

/// One thing held; dropped, it is free again.
pub struct Share<K: Eq + Hash> {
    caller: Option<K>,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Copy> Shares<K> {
    /// Each caller may hold so many.
    #[must_use]
    pub fn new(most: usize) -> Shares<K> {
        Shares {
            most,
            held: Arc::default(),
        }
    }

    /// Takes one more, if the caller may.
    #[must_use]
    pub fn take(&self, caller: K) -> Option<Share<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(caller).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share {
            caller: Some(caller),
            held: Arc::clone(&self.held),
        })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(caller) = self.caller.take() else {
            return;
        };
        if let Some(count) = held.get_mut(&caller) {
            *count -= 1;
            if *count == 0 {
                held.remove(&caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_each_may_hold_is_refused_and_nothing_is_remembered_of_those_who_hold_nothing()
    {
        let shares = Shares::new(2);
        let first = shares.take("a").expect("the first");
        let second = shares.take("a").expect("the second");
        assert!(shares.take("a").is_none());
        let other = shares.take("b").expect("another caller");
        drop(first);
        let third = shares.take("a").expect("there is room again");
        drop((second, third, other));
        assert!(shares.held.lock().expect("sound").is_empty());
    }
}
