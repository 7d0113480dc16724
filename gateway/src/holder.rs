//! Who holds a grant or a stream: what revocations, disconnects and limits go by. Names no token, only what one says.

use serde::{Deserialize, Serialize};

/// The bearer of a token, as far as others may refer to it; all empty for an anonymous caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `sub`.
    pub subject: Option<String>,
    /// `jti`.
    pub token_id: Option<String>,
    /// `iat`, in Unix seconds.
    pub issued_at: Option<u64>,
    /// The browser session whose cookie carried the token.
    pub session: Option<String>,
}

impl Holder {
    /// Whether no token is behind it.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.subject.is_none() && self.token_id.is_none()
    }
}
