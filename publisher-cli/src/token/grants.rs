//! What a token's claim `sluice` lets its holder do: patterns, what they stand for once `{sub}` is filled in, and which of
//! them allows a channel.

use serde::Serialize;
use serde_json::Value;
use sluice_wire::Channel;
use sluice_wire::pattern::{Pattern, PatternError};

use super::parts::Object;
use crate::args::Action;

/// Most patterns in one list.
pub const PATTERNS_MOST: usize = 128;

/// The patterns of one action.
#[derive(Debug, Default)]
pub struct Grants(Vec<Grant>);

/// One pattern.
#[derive(Debug, Serialize)]
pub struct Grant {
    pub pattern: String,
    /// With the subject filled in, where it has `{sub}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<String>,
    /// Why it stands for no channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_for_none: Option<&'static str>,
    #[serde(skip)]
    parsed: Option<Pattern>,
}

/// Whether a channel is allowed, and why.
#[derive(Debug, Serialize)]
pub struct Answer {
    pub channel: String,
    pub action: &'static str,
    pub allowed: bool,
    /// The pattern that allows it.
    pub pattern: Option<String>,
    pub why: String,
}

/// The texts of a list of patterns; nothing when the claims have another type there.
pub fn texts(claims: &Object, action: Action) -> Option<Vec<String>> {
    let Some(scopes) = claims.get("sluice") else {
        return Some(Vec::new());
    };
    match scopes.as_object()?.get(action.name()) {
        None => Some(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|text| text.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    }
}

/// Whether a gateway takes `text` as a pattern.
///
/// # Errors
/// [`PatternError`].
pub fn check(text: &str) -> Result<(), PatternError> {
    // Any subject: it stands for itself, whatever is in it.
    Pattern::parse(text, Some("subject")).map(drop)
}

impl Grants {
    pub fn of(texts: Vec<String>, subject: &str) -> Grants {
        let grant = |pattern: String| {
            let parsed = Pattern::parse(&pattern, Some(subject)).ok();
            let has_subject = pattern.split('.').any(|segment| segment == "{sub}");
            let is_segment = !subject.contains('.') && Channel::parse(subject).is_ok();
            let stands_for_none = if parsed.is_none() {
                Some("it is malformed")
            } else if has_subject && !is_segment {
                Some("the subject is no segment of a channel")
            } else if pattern.starts_with('_') {
                Some("channels that begin with `_` are Sluice's own")
            } else {
                None
            };
            Grant {
                stands_for: (has_subject && stands_for_none.is_none())
                    .then(|| pattern.replace("{sub}", subject)),
                stands_for_none,
                parsed,
                pattern,
            }
        };
        Grants(texts.into_iter().map(grant).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these patterns allow `channel`.
    pub fn answer(&self, action: Action, channel: &Channel) -> Answer {
        let allowing = self.iter().find(|grant| {
            let pattern = grant.parsed.as_ref();
            pattern.is_some_and(|pattern| pattern.matches(channel.as_str()))
        });
        let allowing = allowing.filter(|_| !channel.is_reserved());
        let why = match allowing {
            Some(grant) => format!("`{}` stands for it", grant.pattern),
            None if channel.is_reserved() => {
                "channels that begin with `_` are Sluice's own, whatever a token says".to_owned()
            }
            None if self.is_empty() => {
                format!("the token lets its holder {} nothing", action.words())
            }
            None => format!(
                "none of the token's patterns stands for it: {}",
                self.listed()
            ),
        };
        Answer {
            channel: channel.to_string(),
            action: action.name(),
            allowed: allowing.is_some(),
            pattern: allowing.map(|grant| grant.pattern.clone()),
            why,
        }
    }

    fn listed(&self) -> String {
        const MOST: usize = 10;
        let shown = self.iter().take(MOST).map(|grant| match &grant.stands_for {
            Some(filled) => format!("`{}` (that is `{filled}`)", grant.pattern),
            None => format!("`{}`", grant.pattern),
        });
        let shown: Vec<_> = shown.collect();
        let more = self.0.len().saturating_sub(MOST);
        let more = (more > 0).then(|| format!(" and {more} more"));
        shown.join(", ") + &more.unwrap_or_default()
    }
}
