//! What a caller may do, for how long, and which token says so.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use sluice_wire::channel::Channel;

use super::AuthError;
use super::patterns::Patterns;
use crate::holder::Holder;

/// Shared by all streams of anonymous callers.
static NOBODY: LazyLock<Arc<Holder>> = LazyLock::new(Arc::default);

/// What a caller may do, for how long.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose token it is; nobody's for an anonymous caller.
    pub holder: Arc<Holder>,
    /// When the token stops being accepted, leeway included. A stream ends then with `token_expired`.
    pub expires_at: Option<SystemTime>,
    pub subscribe: Patterns,
    pub publish: Patterns,
}

/// What a caller wants to do with a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    Subscribe,
    Publish,
}

impl Grant {
    /// What everyone may do in anonymous mode: everything but the reserved channels, for ever.
    pub fn anonymous() -> Grant {
        Grant {
            holder: Arc::clone(&NOBODY),
            expires_at: None,
            subscribe: Patterns::all(),
            publish: Patterns::all(),
        }
    }

    /// What the token names for this.
    pub fn patterns(&self, action: Action) -> &Patterns {
        match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
        }
    }

    /// Checks one channel. Reserved channels are never allowed, whatever the patterns say.
    ///
    /// # Errors
    /// [`AuthError::Scope`]; for a caller without a token [`AuthError::Missing`], since with one it may be allowed.
    pub fn check(&self, action: Action, channel: &Channel) -> Result<(), AuthError> {
        if !channel.is_reserved() && self.patterns(action).allow(channel) {
            return Ok(());
        }
        if self.holder.subject.is_none() && !channel.is_reserved() {
            return Err(AuthError::Missing);
        }
        Err(AuthError::Scope {
            action,
            channel: channel.clone(),
        })
    }
}
