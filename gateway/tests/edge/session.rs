//! The session's cookie, end to end: how it comes and goes, and that it opens what its token does and no more.

use rstest::rstest;
use serde_json::Value;

use crate::harness::http::{Answer, call};
use crate::harness::node::Node;
use crate::harness::tokens::{SECRET, bearer, claims, now, settings, sign, token};
use crate::harness::{PATIENCE, find};

fn node(more: &[(&str, &str)]) -> Node {
    Node::embedded(&settings(more)).ready()
}

fn post(node: &Node, headers: &[(&str, &str)]) -> Answer {
    call(node.public, "POST", "/v1/session", headers, b"")
}

fn delete(node: &Node, headers: &[(&str, &str)]) -> Answer {
    call(node.public, "DELETE", "/v1/session", headers, b"")
}

/// Name and value of the cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let set = answer.header("set-cookie").expect("a cookie is set");
    set.split(';').next().expect("its pair").to_owned()
}

fn session_of(cookie: &str) -> &str {
    let (_, value) = cookie.split_once('=').expect("a pair");
    value.split_once('.').expect("two parts").0
}

fn login(node: &Node, token: &str, cookie: Option<&str>) -> Answer {
    let bearer = bearer(token);
    let mut headers = vec![("Authorization", bearer.as_str())];
    headers.extend(cookie.map(|pair| ("Cookie", pair)));
    post(node, &headers)
}

/// The answer tells no script what is in the cookie; the cookie opens a stream, and the stream ends with the token.
#[test]
fn a_token_becomes_a_cookie_that_opens_streams() {
    let node = node(&[]);
    let claims = claims("ann", &["orders.*"], &["inbox"], 3);
    let token = sign(&claims, SECRET);
    let answer = login(&node, &token, None);
    let pair = cookie(&answer);
    let set = answer.header("set-cookie").expect("set");
    let (_, attributes) = set.split_once("; ").expect("attributes");
    let (fixed, max_age) = attributes.rsplit_once("; Max-Age=").expect("an end");
    assert_eq!(fixed, "HttpOnly; SameSite=Strict; Secure; Path=/");
    assert!(
        max_age.parse::<u64>().is_ok_and(|age| age <= 3),
        "{max_age}"
    );
    assert_eq!(pair, format!("__Host-sluice={}.{token}", session_of(&pair)));
    assert_eq!(session_of(&pair).len(), 22);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    let members: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["expires_at"]);
    let expires_at = humantime::parse_rfc3339(body["expires_at"].as_str().expect("text"));
    let expires_at = expires_at
        .expect("a time")
        .duration_since(std::time::UNIX_EPOCH);
    assert_eq!(
        expires_at.expect("after 1970").as_secs(),
        claims["exp"].as_u64().expect("set")
    );

    let mut stream = node.stream("channel=orders.eu", &[("Cookie", &pair)]);
    let close = stream.rest().pop().expect("a close");
    assert_eq!(close.json()["reason"], "token_expired");
    let target = "/v1/events?channel=orders.eu";
    find("the token is no longer taken", PATIENCE, || {
        let head = call(node.public, "HEAD", target, &[("Cookie", &pair)], b"");
        (head.status == 401).then_some(())
    });
    let answer = node.get(target, &[("Cookie", &pair)]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (401, "token_expired")
    );
}

/// The cookie grants what its token does, wherever a token is asked for.
#[test]
fn a_cookie_is_as_good_as_its_token_and_no_better() {
    let node = node(&[]);
    let pair = cookie(&login(&node, &token("ann", &["user.{sub}"]), None));
    let headers = [("Cookie", pair.as_str()), ("Origin", "http://sluice.test")];
    assert_eq!(node.post("inbox", &headers, b"hello").status, 201);
    let batch = call(
        node.public,
        "POST",
        "/v1/publish",
        &[&headers[..], &[("Content-Type", "application/x-ndjson")]].concat(),
        br#"{"channel":"inbox","data":"x"}"#,
    );
    assert_eq!(batch.status, 200, "{batch:?}");
    assert_eq!(
        node.get("/v1/poll?channel=user.ann&timeout=0s", &headers)
            .status,
        200
    );
    assert_eq!(
        node.get("/v1/channels/user.ann/events", &headers).status,
        200
    );
    for target in ["/v1/events?channel=user.bob", "/v1/channels/inbox/events"] {
        let answer = node.get(target, &headers);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "insufficient_scope")
        );
    }
}

/// A browser session outlives the renewal of its token; it does not pass to someone else.
#[test]
fn a_renewed_token_keeps_its_session() {
    let node = node(&[]);
    let first = cookie(&login(&node, &token("ann", &["a"]), None));
    let next = login(&node, &token("ann", &["b"]), Some(&first));
    let next = cookie(&next);
    assert_eq!(session_of(&next), session_of(&first));
    assert_ne!(next, first, "it holds the new token");
    assert_eq!(
        node.get("/v1/poll?channel=b&timeout=0s", &[("Cookie", &next)])
            .status,
        200
    );

    let forged = first.replace(session_of(&first), "AAAAAAAAAAAAAAAAAAAAAA") + "x";
    for (subject, old) in [
        ("bob", Some(first.as_str())),
        ("ann", None),
        ("ann", Some(&forged)),
        ("ann", Some("__Host-sluice=x")),
    ] {
        let other = cookie(&login(&node, &token(subject, &["a"]), old));
        assert_ne!(session_of(&other), session_of(&first), "{old:?}");
        assert_ne!(session_of(&other), "AAAAAAAAAAAAAAAAAAAAAA", "{old:?}");
    }
}

/// No cookie is set without a good token in the header: another page could log its own user in otherwise.
#[test]
fn a_session_begins_with_a_bearer_token_only() {
    let node = node(&[]);
    let good = token("ann", &["a"]);
    let pair = cookie(&login(&node, &good, None));
    let (good_bearer, forged) = (bearer(&good), bearer(&format!("{good}x")));
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, u16, &'a str);
    let cases: [Case<'_>; 5] = [
        (&[], "", 401, "token_missing"),
        (
            &[("Cookie", &pair), ("Origin", "http://sluice.test")],
            "",
            401,
            "token_missing",
        ),
        (
            &[("Authorization", &forged), ("Cookie", &pair)],
            "",
            401,
            "invalid_token",
        ),
        (
            &[("Authorization", &good_bearer)],
            "?ticket=x",
            400,
            "bad_authorization",
        ),
        (&[], "?token=x", 401, "token_missing"),
    ];
    for (headers, query, status, code) in cases {
        let answer = call(
            node.public,
            "POST",
            &format!("/v1/session{query}"),
            headers,
            b"",
        );
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, code),
            "{headers:?}"
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
}

/// Refused, and never taken for nobody: a stale cookie must not silently read as an anonymous caller would.
#[rstest]
#[case::empty("__Host-sluice=", "invalid_token")]
#[case::no_session("__Host-sluice=TOKEN", "invalid_token")]
#[case::short_session("__Host-sluice=abc.TOKEN", "invalid_token")]
#[case::garbage("__Host-sluice=%00%ff; x=y", "invalid_token")]
#[case::forged("__Host-sluice=AAAAAAAAAAAAAAAAAAAAAA.TOKENx", "invalid_token")]
#[case::expired("__Host-sluice=AAAAAAAAAAAAAAAAAAAAAA.EXPIRED", "token_expired")]
#[case::twice(
    "__Host-sluice=AAAAAAAAAAAAAAAAAAAAAA.TOKEN; __Host-sluice=x",
    "invalid_token"
)]
#[case::another_cookie("sluice=AAAAAAAAAAAAAAAAAAAAAA.TOKEN", "token_missing")]
fn a_bad_cookie_is_refused(#[case] cookie: &str, #[case] code: &str) {
    let node = node(&[]);
    let good = token("ann", &["a"]);
    let expired = sign(&serde_json::json!({"sub": "ann", "exp": now() - 1}), SECRET);
    let cookie = cookie.replace("TOKEN", &good).replace("EXPIRED", &expired);
    let answer = node.get("/v1/events?channel=a", &[("Cookie", &cookie)]);
    assert_eq!((answer.status, answer.problem().as_str()), (401, code));
    assert!(answer.header("www-authenticate").is_some());
    assert_eq!(
        node.metric("sluice_connections_rejected_total{reason=\"unauthorized\"}"),
        1.0
    );
    // The header comes first, and a bad one is not made good by a cookie.
    let bearer = bearer(&good);
    let both = [("Cookie", cookie.as_str()), ("Authorization", &bearer)];
    assert_eq!(node.get("/v1/poll?channel=a&timeout=0s", &both).status, 200);
}

#[test]
fn a_token_that_no_cookie_can_hold_is_refused() {
    let node = node(&[]);
    let sized = |bytes: usize| {
        let mut claims = claims("ann", &["a"], &[], 60);
        claims["pad"] = "p".repeat(bytes).into();
        sign(&claims, SECRET)
    };
    // Base64 adds a third: grow to the last one that fits.
    let room = 4_096 - "__Host-sluice".len() - 22 - 1;
    let most = (2_000..3_500)
        .rev()
        .find(|bytes| sized(*bytes).len() <= room);
    let most = most.expect("one that fits");
    let answer = login(&node, &sized(most), None);
    assert!(cookie(&answer).len() <= 4_097, "with its sign of equality");
    let answer = login(&node, &sized(most + 3), None);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "session_too_large")
    );
    assert_eq!(answer.header("set-cookie"), None);
}

/// The browser is told to forget the cookie, whatever is in it.
#[rstest]
#[case(None)]
#[case(Some("__Host-sluice=stale"))]
fn a_session_ends(#[case] cookie: Option<&str>) {
    let node = node(&[]);
    let mut headers = vec![("Origin", "http://sluice.test")];
    headers.extend(cookie.map(|pair| ("Cookie", pair)));
    let answer = delete(&node, &headers);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(
        answer.header("set-cookie"),
        Some("__Host-sluice=; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0")
    );
}

#[test]
fn the_cookie_is_as_the_settings_say() {
    let node = node(&[
        ("SESSION__COOKIE", "__Secure-events"),
        ("SESSION__SAME_SITE", "none"),
        ("SESSION__DOMAIN", "example.com"),
    ]);
    let answer = login(&node, &token("ann", &["a"]), None);
    let set = answer.header("set-cookie").expect("set");
    assert!(set.starts_with("__Secure-events="), "{set}");
    assert!(
        set.contains("; HttpOnly; SameSite=None; Secure; Path=/; Domain=example.com"),
        "{set}"
    );
    let pair = cookie(&answer);
    assert_eq!(
        node.get("/v1/poll?channel=a&timeout=0s", &[("Cookie", &pair)])
            .status,
        200
    );
}

/// Where everyone may read, there is nothing to exchange: said, instead of a cookie that does nothing.
#[test]
fn an_anonymous_gateway_says_that_it_takes_no_tokens() {
    let node = Node::embedded(&[]).ready();
    let token = bearer(&token("ann", &["a"]));
    let headers = [("Authorization", token.as_str())];
    let tickets = call(node.public, "POST", "/v1/tickets", &headers, b"");
    for answer in [post(&node, &headers), delete(&node, &[]), tickets] {
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "no_tokens_here")
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
    // And nothing that only looks like a credential stands in the way of reading.
    let odd = [("Cookie", "__Host-sluice=x")];
    let stream = node.stream("channel=a&ticket=x&token=y", &odd);
    assert_eq!(stream.status, 200);
}
