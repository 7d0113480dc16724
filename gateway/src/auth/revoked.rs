//! The last look at a verified caller: whether its token was taken back since it was issued.

use std::sync::Arc;

use super::AuthError;
use crate::broker::clock::Clock;
use crate::holder::Holder;
use crate::revocations::{Revocations, Verdict};

/// The revocations, and the time. A clone looks at the same ones.
#[derive(Clone)]
pub struct RevocationCheck {
    revocations: Arc<Revocations>,
    clock: Clock,
}

impl RevocationCheck {
    /// Looks at these, by the clock with which they were made.
    #[must_use]
    pub fn new(revocations: Arc<Revocations>, clock: Clock) -> RevocationCheck {
        RevocationCheck { revocations, clock }
    }

    /// Asked of everyone who was recognised; a caller without a token always passes.
    ///
    /// # Errors
    /// [`AuthError::Revoked`]; [`AuthError::NotYet`] while nobody can say.
    pub fn check(&self, holder: &Holder) -> Result<(), AuthError> {
        match self.revocations.verdict(holder, self.clock.wall()) {
            Verdict::Good => Ok(()),
            Verdict::Revoked => Err(AuthError::Revoked),
            Verdict::Unknown => Err(AuthError::NotYet),
        }
    }
}
