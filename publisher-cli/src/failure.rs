//! Every way a command can end badly: its words, its hint and its exit code.
//! Messages never hold a password or a token.

use std::process::ExitCode;
use std::time::Duration;

/// Why a command, or one event of a batch, did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be acted on. Exit 2.
    #[error("{what}")]
    Usage { what: String, hint: String },
    /// Redis or the gateway understood and said no, with a stable code. Exit 1.
    #[error("{code}: {detail}")]
    Refused {
        code: String,
        detail: String,
        hint: Option<&'static str>,
        /// Whether everything that follows would be refused as well.
        for_all: bool,
    },
    /// Anything else that went wrong here or there. Exit 1.
    #[error("{what}")]
    Failed { what: String, hint: Option<String> },
    /// Some events of a batch were not published; each was told when it failed. Exit 3.
    #[error("{failed} of {total} events were not published")]
    SomeFailed { failed: u64, total: u64 },
    /// No answer was had. Exit 4.
    #[error("{target} is unreachable: {cause}")]
    Unreachable {
        target: String,
        cause: String,
        hint: String,
    },
    /// The event was sent and its reply lost, so nobody here knows whether it was published. Exit 4.
    #[error(
        "{target} took the event but its reply was lost ({cause}): it may or may not be published"
    )]
    OutcomeUnknown {
        target: String,
        cause: String,
        /// Whether nothing at all came back in time, rather than the connection breaking.
        silent: bool,
    },
    /// Ctrl-C. Exit 130, without a word.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// A failure that has no code of its own and no hint.
    pub fn failed(what: impl Into<String>) -> Failure {
        Failure::Failed {
            what: what.into(),
            hint: None,
        }
    }

    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Usage {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// Whether the same attempt may succeed a moment later.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Failure::Unreachable { .. })
    }

    /// Whether the rest of a batch would only fail in the same way.
    pub fn ends_the_batch(&self) -> bool {
        match self {
            Failure::Unreachable { .. } | Failure::Interrupted => true,
            Failure::Refused { for_all, .. } => *for_all,
            // A server that has fallen silent would cost every later event the same wait.
            Failure::OutcomeUnknown { silent, .. } => *silent,
            Failure::Usage { .. } | Failure::Failed { .. } | Failure::SomeFailed { .. } => false,
        }
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Failure::Usage { hint, .. } | Failure::Unreachable { hint, .. } => Some(hint),
            Failure::Refused { hint, .. } => *hint,
            Failure::Failed { hint, .. } => hint.as_deref(),
            Failure::OutcomeUnknown { .. } => Some(
                "give each event an id (--id, or \"id\" in NDJSON): a repeat is then safe and is done for you",
            ),
            Failure::SomeFailed { .. } | Failure::Interrupted => None,
        }
    }

    /// 1 failed, 2 usage, 3 some of a batch failed, 4 unreachable, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused { .. } | Failure::Failed { .. } => 1,
            Failure::Usage { .. } => 2,
            Failure::SomeFailed { .. } => 3,
            Failure::Unreachable { .. } | Failure::OutcomeUnknown { .. } => 4,
            Failure::Interrupted => 130,
        }
    }

    /// Writes `error:` and `hint:` lines to stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if !matches!(self, Failure::Interrupted) {
            eprintln!("{}", self.lines(""));
        }
        ExitCode::from(self.exit_code())
    }

    /// The `error:` line and, where there is one, the `hint:` line; `at` says where, such as `line 3: `.
    pub fn lines(&self, at: &str) -> String {
        let mut lines = format!("error: {at}{}", printable(&self.to_string()));
        if let Some(hint) = self.hint() {
            lines.push_str("\nhint: ");
            lines.push_str(hint);
        }
        lines
    }
}

/// The words for a server that did not answer in time.
pub fn no_answer_within(limit: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(limit))
}

/// `text` with control characters escaped: words from the network must not drive the terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
