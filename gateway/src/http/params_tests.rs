//! What subscribe requests mean, and how the bad ones are refused.

use actix_web::http::header::{HeaderName, HeaderValue};
use rstest::rstest;

use super::*;
use crate::auth::patterns::Patterns;

const LIMITS: SubscribeLimits = SubscribeLimits {
    channels: 3,
    last: 100,
};
const POSITION: &str = "1763676000123-0.9f2c41aa";
const NOW_MS: u64 = 1_763_676_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(NOW_MS)
}

fn headers(last_event_id: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(text) = last_event_id {
        let value = HeaderValue::from_bytes(text.as_bytes()).expect("a header value");
        headers.insert(HeaderName::from_static("last-event-id"), value);
    }
    headers
}

fn query(query: &str) -> Result<SubscribeRequest, Problem> {
    SubscribeRequest::from_query(query, &headers(None), LIMITS, now())
}

fn names(request: &SubscribeRequest) -> Vec<&str> {
    request.channels.iter().map(Channel::as_str).collect()
}

#[test]
fn channels_keep_their_order_and_duplicates_fold() {
    let request = query("channel=b&channel=a&channel=b&channel=c%2Ed&_=123").expect("valid");
    assert_eq!(names(&request), ["b", "a", "c.d"]);
    assert_eq!(request.start, StartAt::Live);
    assert!(!request.envelope);
}

#[rstest]
#[case("channel=", "bad_channel", "channel", "")]
#[case("channel=a,b", "bad_channel", "channel", "a,b")]
#[case("channel=a..b", "bad_channel", "channel", "a..b")]
#[case("channel=_probe.x", "reserved_channel", "channel", "_probe.x")]
#[case(
    "channel=a&channel=b&channel=c&channel=d",
    "too_many_channels",
    "channel",
    "d"
)]
#[case("channel=a&envelope=xml", "bad_parameter", "envelope", "xml")]
#[case("channel=a&last=many", "bad_parameter", "last", "many")]
#[case("channel=a&last=-1", "bad_parameter", "last", "-1")]
#[case("channel=a&since=yesterday", "bad_parameter", "since", "yesterday")]
#[case(
    "channel=a&since=1900-02-29T00:00:00Z",
    "bad_parameter",
    "since",
    "1900-02-29T00:00:00Z"
)]
#[case("channel=a&since=P1M", "bad_parameter", "since", "P1M")]
#[case("channel=a&since=PT", "bad_parameter", "since", "PT")]
#[case(
    "channel=a&since=1763676000000",
    "bad_parameter",
    "since",
    "1763676000000"
)]
fn bad_parameters_are_named(
    #[case] text: &str,
    #[case] code: &str,
    #[case] parameter: &str,
    #[case] value: &str,
) {
    let problem = query(text).expect_err("refused");
    assert_eq!(problem.code().as_str(), code);
    assert_eq!(problem.code().status(), 400);
    let shown = format!("{problem:?}");
    assert!(
        shown.contains(&format!(
            "parameter: Some({parameter:?}), value: Some({value:?})"
        )),
        "{shown}"
    );
}

#[rstest]
#[case("PT5M", NOW_MS - 300_000)]
#[case("5m", NOW_MS - 300_000)]
#[case("P1DT2H", NOW_MS - 93_600_000)]
#[case("P2W", NOW_MS - 1_209_600_000)]
#[case("PT0.5S", NOW_MS - 500)]
#[case("P99999W", 0)]
#[case("2025-11-20T22:00:00Z", NOW_MS)]
#[case("2025-11-20T22:00:00.250Z", NOW_MS + 250)]
#[case("2025-11-21T05:00:00%2B07:00", NOW_MS)]
#[case("2025-11-21T05:00:00+07:00", NOW_MS)]
#[case("2025-11-20T17:00:00-05:00", NOW_MS)]
#[case("1900-01-01T00:00:00Z", 0)]
#[case("1968-02-29T12:00:00+07:00", 0)]
#[case("1970-01-01T00:00:00%2B07:00", 0)]
fn since_is_a_duration_or_a_timestamp(#[case] text: &str, #[case] ms: u64) {
    let request = query(&format!("channel=a&since={text}")).expect("valid");
    assert_eq!(request.start, StartAt::Since(ms));
}

#[rstest]
#[case("10", StartAt::Last(10))]
#[case("0", StartAt::Live)]
#[case("99999999999", StartAt::Last(100))]
fn last_is_cut_to_what_history_keeps(#[case] text: &str, #[case] start: StartAt) {
    assert_eq!(
        query(&format!("channel=a&last={text}"))
            .expect("valid")
            .start,
        start
    );
}

/// Header, then `last_event_id`, then `since`, then `last`.
#[test]
fn the_most_exact_start_wins() {
    let position: Cursor = Cursor::parse(POSITION).expect("valid");
    let other = "1763676000999-0.00000001";
    let all = format!("channel=a&last_event_id={other}&since=5m&last=3");
    let with_header =
        SubscribeRequest::from_query(&all, &headers(Some(POSITION)), LIMITS, now()).expect("valid");
    assert_eq!(with_header.start, StartAt::Cursor(position));
    assert_eq!(with_header.incoming.as_deref(), Some(POSITION));
    let without = query(&all).expect("valid");
    assert_eq!(
        without.start,
        StartAt::Cursor(Cursor::parse(other).expect("valid"))
    );
    assert_eq!(
        query("channel=a&since=5m&last=3").expect("valid").start,
        StartAt::Since(NOW_MS - 300_000)
    );
    let empty = SubscribeRequest::from_query(
        "channel=a&last_event_id=&last=3",
        &headers(Some("")),
        LIMITS,
        now(),
    );
    assert_eq!(empty.expect("valid").start, StartAt::Last(3));
}

/// A reconnecting EventSource repeats its URL: with a cursor, a parameter that no longer fits must not end it.
#[test]
fn a_cursor_makes_stale_start_parameters_harmless() {
    let request = SubscribeRequest::from_query(
        "channel=a&since=nonsense",
        &headers(Some(POSITION)),
        LIMITS,
        now(),
    );
    assert!(matches!(request.expect("valid").start, StartAt::Cursor(_)));
}

#[rstest]
#[case("garbage", Some("garbage"))]
#[case("1~!!", Some("1~!!"))]
#[case("%0Adata: x", None)]
#[case("caf\u{e9}", Some("caf\u{e9}"))]
fn a_bad_cursor_is_no_error(#[case] text: &str, #[case] echoed: Option<&str>) {
    let request = query(&format!("channel=a&last_event_id={text}")).expect("never a 4xx");
    assert_eq!(request.start, StartAt::Unreadable);
    assert_eq!(request.incoming.as_deref(), echoed);
    let long =
        query(&format!("channel=a&last_event_id={}", "x".repeat(10_000))).expect("never a 4xx");
    assert_eq!((long.start, long.incoming), (StartAt::Unreadable, None));
}

#[test]
fn a_body_asks_for_the_same() {
    let body =
        format!(r#"{{"channels":["a","b"],"last_event_id":"{POSITION}","envelope":"json"}}"#);
    let request =
        SubscribeRequest::from_body(body.as_bytes(), &headers(None), LIMITS, now()).expect("valid");
    assert_eq!(names(&request), ["a", "b"]);
    assert!(request.envelope && matches!(request.start, StartAt::Cursor(_)));
    let last = SubscribeRequest::from_body(
        br#"{"channels":["a"],"last":5}"#,
        &headers(None),
        LIMITS,
        now(),
    );
    assert_eq!(last.expect("valid").start, StartAt::Last(5));
}

/// What a caller without channels reads is its token's to say; an empty list is a mistake.
#[test]
fn channels_may_be_left_to_the_token() {
    assert!(names(&query("last=3").expect("valid")).is_empty());
    let body =
        |text: &str| SubscribeRequest::from_body(text.as_bytes(), &headers(None), LIMITS, now());
    assert!(names(&body("{}").expect("valid")).is_empty());
    let grant = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Grant {
            subscribe: Patterns::parse(&texts, "42").expect("patterns"),
            ..Grant::anonymous()
        }
    };
    let all = granted(&grant(&["a", "b.*", "user.{sub}", "a"]), 2).expect("two");
    assert_eq!(
        all.iter().map(Channel::as_str).collect::<Vec<_>>(),
        ["a", "user.42"]
    );
    for (texts, code) in [
        (&["a", "b", "user.{sub}"][..], Code::TooManyChannels),
        (&["b.*", "**"], Code::NoChannel),
        (&[], Code::NoChannel),
    ] {
        let problem = granted(&grant(texts), 2).expect_err("refused");
        assert_eq!(problem.code(), code, "{texts:?}");
    }
}

/// A refusal echoes a cursor that it cannot read, but not a token that was put in its place.
#[rstest]
#[case("no cursor", true)]
#[case("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln", false)]
fn a_token_is_no_cursor_to_echo(#[case] text: &str, #[case] is_echoed: bool) {
    let request = SubscribeRequest::from_query("channel=a", &headers(Some(text)), LIMITS, now());
    let incoming = request.expect("valid").incoming;
    assert_eq!(incoming.as_deref(), is_echoed.then_some(text));
}

#[rstest]
#[case("not json", "bad_body")]
#[case("[]", "bad_body")]
#[case(r#"{"channel":"a"}"#, "bad_body")]
#[case(r#"{"channels":"a"}"#, "bad_body")]
#[case(r#"{"channels":[]}"#, "no_channel")]
#[case(r#"{"channels":["_x"]}"#, "reserved_channel")]
fn bad_bodies_are_refused(#[case] body: &str, #[case] code: &str) {
    let problem = SubscribeRequest::from_body(body.as_bytes(), &headers(None), LIMITS, now())
        .expect_err("refused");
    assert_eq!(problem.code().as_str(), code);
}

#[test]
fn another_media_type_is_refused() {
    let mut form = headers(None);
    form.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    let problem =
        SubscribeRequest::from_body(b"channels=a", &form, LIMITS, now()).expect_err("refused");
    assert_eq!(problem.code().status(), 415);
    let mut json = headers(None);
    json.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    SubscribeRequest::from_body(br#"{"channels":["a"]}"#, &json, LIMITS, now()).expect("valid");
}

proptest::proptest! {
    /// Whatever a client sends, it is understood or refused; nothing panics.
    #[test]
    fn hostile_queries_never_panic(text in ".{0,200}", since_text in "[PT0-9.:HMSDWYZ +-]{0,40}") {
        drop(query(&text));
        drop(query(&format!("channel=a&since={since_text}&last={text}")));
        drop(SubscribeRequest::from_body(text.as_bytes(), &headers(None), LIMITS, now()));
    }
}
