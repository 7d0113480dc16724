//! What the demo's page and its backend say to each other: channels, event types and data.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sluice_wire::Channel;

use crate::failure::Failure;

/// What pages ask the backend: `like`, `job` and `question`.
pub const ASK: &str = "demo.ask";
pub const LIKES: &str = "demo.likes";
pub const PRICES: &str = "demo.prices";
pub const NOTICES: &str = "demo.notices";
pub const JOBS: &str = "demo.jobs";
pub const LOG: &str = "demo.log";
/// A question is answered on a channel of this name and one more segment, and on no other.
pub const ANSWERS: &str = "demo.answer.";

/// Type `likes`: how many there are by now.
#[derive(Deserialize, Serialize)]
pub struct Likes {
    pub count: u64,
}

/// Type `price`.
#[derive(Deserialize, Serialize)]
pub struct Price {
    pub symbol: String,
    pub price: f64,
    pub at: u64,
}

/// Type `notice`.
#[derive(Serialize)]
pub struct Notice<'a> {
    pub title: &'a str,
    pub text: &'a str,
    /// `info`, `good` or `warn`.
    pub level: &'a str,
}

/// Types `progress`, and `finished` when all is done.
#[derive(Serialize)]
pub struct Progress<'a> {
    pub job: &'a str,
    pub name: &'a str,
    pub done: u32,
    pub of: u32,
}

/// Type `line`.
#[derive(Serialize)]
pub struct Line<'a> {
    /// `info` or `warn`.
    pub level: &'a str,
    pub text: &'a str,
    pub at: u64,
}

/// Type `question`, from a page.
#[derive(Deserialize)]
pub struct Question {
    pub channel: String,
    pub question: String,
}

/// Type `token`: a piece of an answer, with the space after it.
#[derive(Serialize)]
pub struct Token<'a> {
    pub text: &'a str,
}

/// Type `done`: the answer is complete.
#[derive(Serialize)]
pub struct Done {
    pub tokens: usize,
}

/// An event as a tail hands it on.
#[derive(Deserialize)]
pub struct Envelope {
    pub id: Option<String>,
    pub r#type: Option<String>,
    pub event_id: Option<String>,
    pub data: String,
}

/// A channel of this file's.
///
/// # Errors
/// None, for a name that is a channel's.
pub fn channel(name: &str) -> Result<Channel, Failure> {
    Channel::parse(name)
        .map_err(|error| Failure::failed(format!("`{name}` is no channel: {error}")))
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
