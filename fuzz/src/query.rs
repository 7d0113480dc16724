//! What a subscribe request asks for. Input: `Last-Event-ID` (left out when empty), then a query, which is read as a JSON
//! body too.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use sluice_gateway::connection::StartAt;
use sluice_gateway::http::params::{SubscribeLimits, SubscribeRequest};
use sluice_wire::cursor::Cursor;

use crate::{parts, text};

const LIMITS: SubscribeLimits = SubscribeLimits {
    channels: 32,
    last: 1_000,
};

/// What is accepted is within its limits and names no channel twice, none of Sluice's own; a cursor is never a reason to
/// refuse, and what would be echoed cannot break an `id:` line.
pub fn check(bytes: &[u8]) {
    let [cursor, query] = parts::<2>(bytes);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(cursor)
        && !cursor.is_empty()
    {
        headers.insert(HeaderName::from_static("last-event-id"), value);
    }
    let now = UNIX_EPOCH + Duration::from_secs(1_763_676_000);
    let of_query = |query: &str| SubscribeRequest::from_query(query, &headers, LIMITS, now);
    let query_text = text(query);
    if let Ok(request) = of_query(&query_text) {
        sound(&request);
        // None at all are those that the token names; who names one is not given more.
        let names_one = format!("&{query_text}").contains("&channel=");
        assert!(!names_one || !request.channels.is_empty());
        // The channels alone, as they were understood, are the same request.
        let channels: Vec<String> = request
            .channels
            .iter()
            .map(|channel| format!("channel={channel}"))
            .collect();
        let again = of_query(&channels.join("&")).expect("channels that were understood once");
        assert_eq!(again.channels, request.channels);
    }
    if let Ok(request) = SubscribeRequest::from_body(query, &headers, LIMITS, now) {
        sound(&request);
    }
    let escaped: String = query.iter().map(|byte| format!("%{byte:02x}")).collect();
    let request = of_query(&format!("channel=a&last_event_id={escaped}"));
    sound(&request.expect("no cursor is ever refused"));
}

fn sound(request: &SubscribeRequest) {
    assert!(request.channels.len() <= LIMITS.channels);
    for (n, channel) in request.channels.iter().enumerate() {
        let name = channel.as_str();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        assert!(
            (1..=128).contains(&name.len()) && name.bytes().all(fits),
            "{name:?}"
        );
        assert!(!name.starts_with('_') && !request.channels[..n].contains(channel));
    }
    if let Some(cursor) = &request.incoming {
        assert!(cursor.len() <= Cursor::MAX_TEXT_BYTES && !cursor.contains(char::is_control));
    }
    match &request.start {
        StartAt::Last(count) => assert!((1..=LIMITS.last).contains(count)),
        StartAt::Cursor(_) => assert!(request.incoming.is_some(), "what was read can be echoed"),
        StartAt::Live | StartAt::Unreadable | StartAt::Since(_) => {}
    }
}
