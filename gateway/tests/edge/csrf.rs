//! Pages of other sites and the visitor's cookie, on a whole node: what a browser adds to a request by itself does not
//! make it the visitor's wish. `csrf.rs` has the whole table; here every route is tried.

use rstest::rstest;

use crate::harness::http::{Answer, call};
use crate::harness::node::Node;
use crate::harness::tokens::{bearer, settings, token};

const APP: &str = "https://app.example";

fn node() -> (Node, String) {
    let node = Node::embedded(&settings(&[("HTTP__CORS_ORIGINS", APP)])).ready();
    let bearer = bearer(&token("ann", &["a"]));
    let answer = call(
        node.public,
        "POST",
        "/v1/session",
        &[("Authorization", &bearer)],
        b"",
    );
    let set = answer.header("set-cookie").expect("set");
    let pair = set.split(';').next().expect("a pair").to_owned();
    (node, pair)
}

const READS: [(&str, &str); 4] = [
    ("GET", "/v1/events?channel=a"),
    ("HEAD", "/v1/events?channel=a"),
    ("GET", "/v1/poll?channel=a&timeout=0s"),
    ("GET", "/v1/channels/a/events"),
];
const CHANGES: [(&str, &str); 5] = [
    ("POST", "/v1/events"),
    ("POST", "/v1/channels/inbox/events"),
    ("POST", "/v1/publish"),
    ("POST", "/v1/tickets"),
    ("DELETE", "/v1/session"),
];

fn ask(node: &Node, (method, target): (&str, &str), headers: &[(&str, &str)]) -> Answer {
    call(node.public, method, target, headers, b"")
}

/// An `<img>`, a `<script>`, a link: the browser says from where, and no origin.
#[rstest]
#[case("cross-site")]
#[case("same-site")]
fn another_site_does_not_read_with_the_cookie(#[case] site: &str) {
    let (node, pair) = node();
    let headers = [("Cookie", pair.as_str()), ("Sec-Fetch-Site", site)];
    for route in READS {
        let answer = ask(&node, route, &headers);
        assert_eq!(answer.status, 403, "{route:?}");
        if route.0 != "HEAD" {
            assert_eq!(answer.problem(), "origin_required", "{route:?}");
        }
    }
    let refused = "sluice_auth_failures_total{code=\"origin_required\"}";
    assert_eq!(node.metric(refused), 4.0);
    assert_eq!(
        node.metric("sluice_connections_rejected_total{reason=\"origin\"}"),
        3.0
    );
    assert_eq!(node.metric("sluice_connections_opened_total"), 0.0);
}

/// A form of another site says its origin; something that says none changes nothing either.
#[rstest]
#[case::silent(&[], "origin_required")]
#[case::silent_same_origin(&[("Sec-Fetch-Site", "same-origin")], "origin_required")]
#[case::form(&[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")], "origin_not_allowed")]
#[case::sandbox(&[("Origin", "null"), ("Sec-Fetch-Site", "cross-site")], "origin_not_allowed")]
fn another_site_changes_nothing_with_the_cookie(#[case] more: &[(&str, &str)], #[case] code: &str) {
    let (node, pair) = node();
    let headers = [&[("Cookie", pair.as_str())], more].concat();
    for (method, target) in CHANGES {
        // Understood by the one route that reads its body before it looks at its caller.
        let body = br#"{"channels":["a"]}"#;
        let answer = call(node.public, method, target, &headers, body);
        let told = (answer.status, answer.problem());
        assert_eq!(told, (403, code.to_owned()), "{method} {target}");
        assert_eq!(answer.header("set-cookie"), None);
    }
    assert_eq!(
        node.metric("sluice_published_total{outcome=\"accepted\"}"),
        0.0
    );
}

/// The gateway's own pages, those of the configuration, and programs.
#[rstest]
#[case::own_page(&[("Sec-Fetch-Site", "same-origin")], &[("Origin", "http://sluice.test"), ("Sec-Fetch-Site", "same-origin")], None)]
#[case::app(&[("Origin", APP), ("Sec-Fetch-Site", "cross-site")], &[("Origin", APP), ("Sec-Fetch-Site", "cross-site")], Some("true"))]
#[case::program(&[], &[("Origin", "http://sluice.test")], None)]
fn allowed_pages_use_the_cookie(
    #[case] reading: &[(&str, &str)],
    #[case] changing: &[(&str, &str)],
    #[case] credentials: Option<&str>,
) {
    let (node, pair) = node();
    let cookie = [("Cookie", pair.as_str())];
    let reading = [&cookie, reading].concat();
    let changing = [&cookie, changing].concat();
    assert_eq!(node.stream("channel=a", &reading).status, 200);
    for route in &READS[1..] {
        let answer = ask(&node, *route, &reading);
        assert_eq!(answer.status, 200, "{route:?}: {answer:?}");
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            credentials
        );
    }
    assert_eq!(
        ask(&node, ("POST", "/v1/channels/inbox/events"), &changing).status,
        201
    );
    assert_eq!(ask(&node, ("POST", "/v1/tickets"), &changing).status, 201);
    assert_eq!(ask(&node, ("DELETE", "/v1/session"), &changing).status, 204);
}

/// A token in the header is the page's own doing: no page gets it by itself.
#[test]
fn a_bearer_token_needs_no_origin() {
    let (node, pair) = node();
    let bearer = bearer(&token("ann", &["a"]));
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Cookie", &pair),
        ("Sec-Fetch-Site", "cross-site"),
    ];
    assert_eq!(
        ask(&node, ("POST", "/v1/channels/inbox/events"), &headers).status,
        201
    );
    assert_eq!(
        node.get("/v1/poll?channel=a&timeout=0s", &headers).status,
        200
    );
}

/// A page of the configuration may log its visitor in and out across origins.
#[rstest]
#[case("POST", "/v1/session")]
#[case("DELETE", "/v1/session")]
#[case("POST", "/v1/tickets")]
fn a_page_of_another_origin_is_told_that_it_may(#[case] method: &str, #[case] target: &str) {
    let (node, _) = node();
    let headers = [
        ("Origin", APP),
        ("Access-Control-Request-Method", method),
        (
            "Access-Control-Request-Headers",
            "authorization,content-type",
        ),
    ];
    let answer = ask(&node, ("OPTIONS", target), &headers);
    assert_eq!(answer.status, 204);
    let says = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    assert_eq!(says("access-control-allow-origin"), APP);
    assert_eq!(says("access-control-allow-credentials"), "true");
    assert!(says("access-control-allow-methods").contains(method));
    assert!(says("access-control-allow-headers").contains("Authorization"));
}
