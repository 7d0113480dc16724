//! Which tokens are revoked, as far as this node knows: a look-up by token id and by subject, whose cost does not grow
//! with the number of revocations. Told by the broker; knows no Redis and no clock of its own.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::holder::Holder;
use crate::orders::Revocation;

/// What is known of a bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Revoked,
    /// The revocations have not been read since this node's start.
    Unknown,
}

/// The revocations that hold. Times are Unix milliseconds by the broker's clock, unless said otherwise.
#[derive(Debug)]
pub struct Revocations {
    book: RwLock<Book>,
    known: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Book {
    /// Until when each token is revoked.
    tokens: HashMap<String, u64>,
    subjects: HashMap<String, Ages>,
    everybody: Ages,
}

/// Revocations by age: until when each holds, and the Unix second before which a token was issued that it means. The
/// sooner one ends, the later its second: what another one covers is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ages(Vec<(u64, u64)>);

impl Revocations {
    /// Without any; `known` where there is nothing to be read first.
    #[must_use]
    pub fn new(known: bool) -> Revocations {
        Revocations {
            book: RwLock::default(),
            known: watch::Sender::new(known),
        }
    }

    /// What is known of a bearer at this time. Without a token nobody is ever revoked.
    #[must_use]
    pub fn verdict(&self, holder: &Holder, now: u64) -> Verdict {
        if holder.is_anonymous() {
            Verdict::Good
        } else if self.read().revokes(holder, now) {
            Verdict::Revoked
        } else if self.is_known() {
            Verdict::Good
        } else {
            Verdict::Unknown
        }
    }

    /// Adds one.
    pub fn add(&self, revocation: &Revocation, until: u64) {
        self.write().add(revocation, until);
    }

    /// Lets go of one whose time is over.
    pub fn forget(&self, revocation: &Revocation, now: u64) {
        self.write().forget(revocation, now);
    }

    /// Puts these in the place of all; from now on they are known.
    pub fn replace<'a>(&self, all: impl Iterator<Item = (&'a Revocation, u64)>) {
        let mut book = Book::default();
        all.for_each(|(revocation, until)| book.add(revocation, until));
        // The old one is let go after the lock.
        let old = std::mem::replace(&mut *self.write(), book);
        drop(old);
        self.known.send_replace(true);
    }

    /// Whether they have been read since this node's start.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self.known.borrow()
    }

    /// The same, to be waited for.
    #[must_use]
    pub fn known(&self) -> watch::Receiver<bool> {
        self.known.subscribe()
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        // Whole after every step, even if a holder panicked.
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn add(&mut self, revocation: &Revocation, until: u64) {
        let Revocation {
            token_id,
            subject,
            issued_before,
        } = revocation;
        // Without a second, whenever it was issued.
        let before = issued_before.unwrap_or(u64::MAX);
        match (token_id, subject) {
            (Some(token), _) => {
                let known = self.tokens.entry(token.clone()).or_default();
                *known = until.max(*known);
            }
            (None, Some(subject)) => {
                let ages = self.subjects.entry(subject.clone()).or_default();
                ages.add(until, before);
            }
            (None, None) if issued_before.is_some() => self.everybody.add(until, before),
            (None, None) => {}
        }
    }

    fn forget(&mut self, revocation: &Revocation, now: u64) {
        if let Some(token) = &revocation.token_id {
            if self.tokens.get(token).is_some_and(|until| *until <= now) {
                self.tokens.remove(token);
            }
        } else if let Some(subject) = &revocation.subject {
            if let Some(ages) = self.subjects.get_mut(subject)
                && ages.forget(now)
            {
                self.subjects.remove(subject);
            }
        } else {
            self.everybody.forget(now);
        }
    }

    fn revokes(&self, holder: &Holder, now: u64) -> bool {
        let token = holder
            .token_id
            .as_ref()
            .and_then(|token| self.tokens.get(token));
        let subject = holder
            .subject
            .as_ref()
            .and_then(|subject| self.subjects.get(subject));
        let mean = |ages: &Ages| ages.mean(holder.issued_at, now);
        token.is_some_and(|until| now < *until)
            || subject.is_some_and(mean)
            || mean(&self.everybody)
    }
}

impl Ages {
    fn add(&mut self, until: u64, before: u64) {
        let covered = self.0.iter().any(|(u, b)| *u >= until && *b >= before);
        if !covered {
            self.0.retain(|(u, b)| *u > until || *b > before);
            let at = self.0.partition_point(|(u, _)| *u < until);
            self.0.insert(at, (until, before));
        }
    }

    /// Lets go of what is over; whether nothing is left.
    fn forget(&mut self, now: u64) -> bool {
        self.0.retain(|(until, _)| now < *until);
        self.0.is_empty()
    }

    /// Whether a token of that age is meant now. Of those that still hold, the first has the latest second.
    fn mean(&self, issued_at: Option<u64>, now: u64) -> bool {
        let holds = self.0.partition_point(|(until, _)| *until <= now);
        let first = self.0.get(holds);
        first.is_some_and(|(_, before)| issued_at.is_none_or(|issued| issued < *before))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(subject: &str, token_id: &str, issued_at: Option<u64>) -> Holder {
        Holder {
            subject: Some(subject.to_owned()),
            token_id: Some(token_id.to_owned()),
            issued_at,
            session: None,
        }
    }

    #[test]
    fn before_they_are_known_no_token_is_good_and_nobody_without_one_is_asked() {
        let revocations = Revocations::new(false);
        let ann = holder("ann", "t", Some(1));
        assert_eq!(revocations.verdict(&ann, 0), Verdict::Unknown);
        assert_eq!(revocations.verdict(&Holder::default(), 0), Verdict::Good);
        // What was heard before the rest was read counts at once.
        let order = Revocation {
            token_id: Some("t".to_owned()),
            ..Revocation::default()
        };
        revocations.add(&order, 10);
        assert_eq!(revocations.verdict(&ann, 9), Verdict::Revoked);
        assert_eq!(revocations.verdict(&ann, 10), Verdict::Unknown);
        revocations.replace(std::iter::empty());
        assert_eq!(revocations.verdict(&ann, 9), Verdict::Good);
    }

    prop_compose! {
        fn revocation()(kind in 0..3, name in "[ab]", before in 0..6u64, until in 0..6u64) -> (Revocation, u64) {
            let revocation = match kind {
                0 => Revocation { token_id: Some(name), ..Revocation::default() },
                1 => Revocation { subject: Some(name), issued_before: Some(before), ..Revocation::default() },
                _ => Revocation { issued_before: Some(before), ..Revocation::default() },
            };
            (revocation, until)
        }
    }

    proptest! {
        /// The look-up says what asking every revocation, one by one, would say.
        #[test]
        fn the_look_up_agrees_with_asking_each(
            all in prop::collection::vec(revocation(), 0..12),
            subject in "[abc]", token in "[abc]", issued in prop::option::of(0..7u64), now in 0..7u64,
        ) {
            let bearer = holder(&subject, &token, issued);
            let wanted = all.iter().any(|(revocation, until)| now < *until && revocation.concerns(&bearer));
            let wanted = if wanted { Verdict::Revoked } else { Verdict::Good };
            let one_by_one = Revocations::new(true);
            all.iter().for_each(|(revocation, until)| one_by_one.add(revocation, *until));
            prop_assert_eq!(one_by_one.verdict(&bearer, now), wanted);
            let at_once = Revocations::new(false);
            at_once.replace(all.iter().map(|(revocation, until)| (revocation, *until)));
            prop_assert_eq!(at_once.verdict(&bearer, now), wanted);
            // Letting go of what is over changes nothing, and leaves nothing of it behind.
            for (revocation, until) in &all {
                if *until <= now {
                    at_once.forget(revocation, now);
                }
            }
            prop_assert_eq!(at_once.verdict(&bearer, now), wanted);
            let book = at_once.read();
            prop_assert!(book.tokens.values().all(|until| now < *until));
            prop_assert!(book.subjects.values().all(|ages| ages.0.iter().all(|(until, _)| now < *until)));
        }
    }
}
