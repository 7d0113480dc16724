//! New tokens for streams that are open.

use serde::{Deserialize, Serialize};

use super::asking::Nonce;
use crate::auth::patterns::Patterns;
use crate::connection::ConnectionId;
use crate::holder::Holder;

/// What a verified token says, as far as open streams go by it. Not the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fresh {
    pub holder: Holder,
    /// When the right to read ends, leeway included, in Unix milliseconds.
    pub expires_at: u64,
    pub subscribe: Patterns,
}

/// A new token for one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    pub nonce: Nonce,
    pub connection: ConnectionId,
    #[serde(flatten)]
    pub fresh: Fresh,
}
