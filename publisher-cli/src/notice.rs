//! What is told on standard error beside failures: resets, closes, where to go on, and notes. Words, or with `--json`
//! one object a line.

use std::fmt;
use std::io::Write;

use serde::{Deserialize, Serialize};
use sluice_wire::{Channel, Position};

use crate::explain;
use crate::failure::printable;

/// Something to know that is neither an event nor a failure. Its JSON is `{"<kind>":…}`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Notice {
    Note(String),
    /// A channel whose history cannot prove that nothing was missed.
    Reset(Reset),
    /// The gateway ended the stream.
    Close {
        reason: String,
    },
    /// There is more than was asked for.
    More {
        channel: String,
        /// Where to go on.
        cursor: String,
    },
    /// Why a token may or may not, or what became of an event, as the gateway says it.
    Explain(serde_json::Value),
}

/// A reset, as the gateway tells it too.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Reset {
    pub channel: String,
    pub reason: String,
    /// `None`: no readable place.
    pub from: Option<String>,
    /// `None`: before the channel's first event.
    pub to: Option<String>,
}

impl Reset {
    pub fn new(
        channel: &Channel,
        reason: &str,
        from: Option<Position>,
        to: Option<Position>,
    ) -> Reset {
        Reset {
            channel: channel.to_string(),
            reason: reason.to_owned(),
            from: from.map(|position| position.to_string()),
            to: to.map(|position| position.to_string()),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Note(what) => write!(f, "note: {what}"),
            Notice::Close { reason } => write!(f, "close: {reason}"),
            Notice::Reset(reset) => write!(
                f,
                "reset: {}: {} (from {} to {}): events may be missing",
                reset.channel,
                reset.reason,
                reset.from.as_deref().unwrap_or("no known place"),
                reset.to.as_deref().unwrap_or("the beginning"),
            ),
            Notice::Explain(answer) => write!(f, "explain: {}", explain::words(answer)),
            Notice::More { cursor, .. } => {
                write!(f, "note: there is more; go on with --from {cursor}")
            }
        }
    }
}

impl Notice {
    /// Writes it to standard error.
    pub fn tell(&self, json: bool) {
        if json {
            tell(&serde_json::to_string(self).unwrap_or_default());
        } else {
            tell(&printable(&self.to_string()));
        }
    }
}

/// Writes lines to standard error. Where nobody reads it, there is nobody to tell.
pub fn tell(lines: &str) {
    drop(writeln!(std::io::stderr(), "{lines}"));
}
