//! Every way a command can end badly: its words, its hint and its exit code.
//! Messages never hold a password or a token.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::notice::tell;

/// Why a command, or one event of a batch, did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be acted on. Exit 2.
    #[error("{what}")]
    Usage { what: String, hint: String },
    /// Redis or the gateway understood and said no, with a stable code. Exit 1.
    #[error("{}{code}: {detail}", status.map_or_else(String::new, |status| format!("{status} ")))]
    Refused {
        /// Of HTTP, where it was HTTP.
        status: Option<u16>,
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
    /// The gateway answered that it cannot do this now. Exit 4.
    #[error("{status} {code}: {detail}")]
    Unavailable {
        status: u16,
        code: String,
        detail: String,
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
        matches!(
            self,
            Failure::Unreachable { .. } | Failure::Unavailable { .. }
        )
    }

    /// Whether the rest of a batch would only fail in the same way.
    pub fn ends_the_batch(&self) -> bool {
        match self {
            Failure::Unreachable { .. } | Failure::Interrupted => true,
            Failure::Refused { for_all, .. } => *for_all,
            // A server that has fallen silent would cost every later event the same wait.
            Failure::OutcomeUnknown { silent, .. } => *silent,
            Failure::Usage { .. }
            | Failure::Failed { .. }
            | Failure::SomeFailed { .. }
            | Failure::Unavailable { .. } => false,
        }
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Failure::Usage { hint, .. } | Failure::Unreachable { hint, .. } => Some(hint),
            Failure::Refused { hint, .. } => *hint,
            Failure::Failed { hint, .. } => hint.as_deref(),
            Failure::OutcomeUnknown { .. } => Some(
                "give each event an id (--id, or \"event_id\" in NDJSON): a repeat is then safe and is done for you",
            ),
            Failure::Unavailable { .. } => Some("the gateway is there; try again in a moment"),
            Failure::SomeFailed { .. } | Failure::Interrupted => None,
        }
    }

    /// 1 failed, 2 usage, 3 some of a batch failed, 4 unreachable, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused { .. } | Failure::Failed { .. } => 1,
            Failure::Usage { .. } => 2,
            Failure::SomeFailed { .. } => 3,
            Failure::Unreachable { .. }
            | Failure::Unavailable { .. }
            | Failure::OutcomeUnknown { .. } => 4,
            Failure::Interrupted => 130,
        }
    }

    /// The stable word for it in JSON; a refusal has the server's own.
    pub fn code(&self) -> &str {
        match self {
            Failure::Usage { .. } => "usage",
            Failure::Refused { code, .. } | Failure::Unavailable { code, .. } => code,
            Failure::Failed { .. } => "failed",
            Failure::SomeFailed { .. } => "some_failed",
            Failure::Unreachable { .. } => "unreachable",
            Failure::OutcomeUnknown { .. } => "outcome_unknown",
            Failure::Interrupted => "interrupted",
        }
    }

    /// Tells it on standard error and gives the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        if !matches!(self, Failure::Interrupted) {
            tell(&self.told(None, json));
        }
        ExitCode::from(self.exit_code())
    }

    /// The `error:` line and, where there is one, the `hint:` line; or one object. `line` is that of the input.
    pub fn told(&self, line: Option<u64>, json: bool) -> String {
        if json {
            return self.object(line);
        }
        let at = line.map_or_else(String::new, |line| format!("line {line}: "));
        let mut lines = format!("error: {at}{}", printable(&self.to_string()));
        if let Some(hint) = self.hint() {
            lines.push_str("\nhint: ");
            lines.push_str(hint);
        }
        lines
    }

    fn object(&self, line: Option<u64>) -> String {
        let (status, detail) = match self {
            Failure::Refused { status, detail, .. } => (*status, detail.clone()),
            Failure::Unavailable { status, detail, .. } => (Some(*status), detail.clone()),
            Failure::Usage { .. }
            | Failure::Failed { .. }
            | Failure::SomeFailed { .. }
            | Failure::Unreachable { .. }
            | Failure::OutcomeUnknown { .. }
            | Failure::Interrupted => (None, self.to_string()),
        };
        let object = ErrorLine {
            line,
            error: ErrorObject {
                code: self.code(),
                status,
                detail,
                hint: self.hint(),
            },
        };
        serde_json::to_string(&object).unwrap_or_default()
    }
}

/// A failure on a line of its own, as the gateway's answer to a batch has it.
#[derive(Serialize)]
struct ErrorLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
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
