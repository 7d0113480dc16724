//! Many events of one channel in one call, in order: `publish.lua`'s own append, called once per event. Not part of the
//! function library; a gateway sends it as `EVAL` and `EVALSHA`.

use crate::{
    keys::Keys,
    position::Position,
    publish::{Defaults, Publish, Refusal, parse_reply, render},
};

const BODY: &str = include_str!("publish_all.lua");

/// Why an event of a batch has no position.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum Failure {
    /// The event's own fault; those after it were tried.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Redis's reason; those after it were not tried.
    #[error("{0}")]
    Failed(String),
}

/// The text for `EVAL` and `EVALSHA`.
pub fn script(defaults: &Defaults) -> String {
    render(defaults) + BODY
}

/// The keys of the call for `events`, which are all of one channel.
pub fn keys(events: &[Publish<'_>], keys: &Keys) -> Vec<String> {
    let mut all = Vec::new();
    for event in events {
        let own = event.keys(keys);
        let shared = if all.is_empty() { 0 } else { 2 };
        all.extend(own.into_iter().skip(shared));
    }
    all
}

/// The arguments of the call.
pub fn args(events: &[Publish<'_>]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for event in events {
        let own = event.args();
        all.push(if event.event_id.is_some() {
            b"i".into()
        } else {
            Vec::new()
        });
        all.push(own.len().to_string().into_bytes());
        all.extend(own);
    }
    all
}

/// Reads the reply for one event. There is one for each that was tried.
///
/// # Errors
/// [`Failure`].
pub fn read_reply(reply: &[u8]) -> Result<Position, Failure> {
    if let Ok(position) = parse_reply(reply) {
        return Ok(position);
    }
    let text = String::from_utf8_lossy(reply);
    Err(match Refusal::from_redis_error(&text) {
        Some(refusal) => Failure::Refused(refusal),
        None => Failure::Failed(text.trim_start_matches('-').to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;

    #[test]
    fn keys_and_arguments_are_those_of_the_events_one_after_the_other() {
        let channel = Channel::parse("a").expect("valid");
        let bare = Publish::new(&channel, b"x");
        let named = Publish {
            event_id: Some("e"),
            event_type: Some("t"),
            tag: Some(1),
            ..bare
        };
        let events = [bare, named, named];
        let record = "sluice:{a}:i:e";
        assert_eq!(
            keys(&events, &Keys::default()),
            ["sluice:{a}:s", "sluice:{a}:m", record, record]
        );
        let expected = ["", "2", "", "x", "i", "4", "t", "x", "tag", "00000001"];
        let args = args(&events[..2]);
        assert_eq!(args, expected.map(str::as_bytes));
    }

    #[test]
    fn a_reply_is_a_position_a_refusal_or_a_failure() {
        assert!(read_reply(b"7-0.00000001").is_ok());
        assert_eq!(
            read_reply(b"-SLUICE event_id_reused x"),
            Err(Failure::Refused(Refusal::EventIdReused))
        );
        let oom = "OOM command not allowed";
        assert_eq!(
            read_reply(format!("-{oom}").as_bytes()),
            Err(Failure::Failed(oom.to_owned()))
        );
    }
}
