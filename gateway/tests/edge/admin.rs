//! The commands of the admin listener at its edge: who may give them, what is understood, and what is told and logged.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::admin::{SETTINGS, bearer, commanded, look};
use crate::harness::http::{Answer, call, connect};
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::tokens::now;

const ROUTES: [(&str, &str, &str); 3] = [
    ("POST", "/admin/revoke", r#"{"sub":"ann"}"#),
    ("POST", "/admin/disconnect", r#"{"all":true}"#),
    ("GET", "/admin/connections", ""),
];

/// The status line's number of an answer to a request with this head, by hand: the harness names a host of its own.
fn status(address: SocketAddr, method: &str, path: &str, head: &str, body: &str) -> u16 {
    let mut socket = connect(address).expect("a connection");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).expect("a status");
    status.parse().expect("a number")
}

fn counted(node: &Node, command: &str, outcome: &str) -> f64 {
    node.metric(&format!(
        "sluice_admin_commands_total{{command=\"{command}\",outcome=\"{outcome}\"}}"
    ))
}

/// With a token set every command asks for it, on loopback too, before it looks at anything else.
#[test]
fn commands_need_the_admin_token() {
    let node = Node::embedded(SETTINGS).ready();
    let user = bearer("ann", &json!({}));
    let forged = "Bearer an-admin-token-for-testz";
    for (method, path, body) in ROUTES {
        for (given, code) in [
            (None, "token_missing"),
            (Some(forged), "invalid_token"),
            (Some("Bearer an-admin-token-for-test"), "invalid_token"),
            (Some(user.as_str()), "invalid_token"),
            (Some("Basic YWRtaW4="), "bad_authorization"),
        ] {
            let headers: Vec<_> = given
                .iter()
                .map(|value| ("Authorization", *value))
                .collect();
            for body in [body, "no JSON"] {
                let answer = call(node.admin, method, path, &headers, body.as_bytes());
                assert_eq!(answer.problem(), code, "{path} {given:?}");
                let challenge = answer.header("www-authenticate").expect("a challenge");
                assert!(
                    challenge.starts_with("Bearer realm=\"sluice-admin\""),
                    "{challenge}"
                );
            }
        }
    }
    for command in ["revoke", "disconnect", "connections"] {
        assert_eq!(counted(&node, command, "unauthorized"), 10.0);
        assert_eq!(counted(&node, command, "done"), 0.0);
    }
    assert_eq!(look(&node, &user).0, 200, "nothing was obeyed");
    commanded(&node, "/admin/revoke", &json!({ "sub": "ann" }));
    assert_eq!(look(&node, &user).1, "token_revoked");
}

/// Probes and metrics need no token; the admin token opens nothing on the public listener, nor are commands there.
#[test]
fn the_admin_token_is_for_commands_only() {
    let node = Node::embedded(SETTINGS).ready();
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert_eq!(
            call(node.admin, "GET", path, &[], b"").status,
            200,
            "{path}"
        );
    }
    let headers = [("Authorization", "Bearer an-admin-token-for-tests")];
    assert_eq!(
        node.get("/v1/channels/a/events", &headers).problem(),
        "invalid_token"
    );
    for (method, path, body) in ROUTES {
        let answer = call(node.public, method, path, &headers, body.as_bytes());
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (404, "not_found")
        );
    }
}

/// Without a token, whoever is on this machine may give commands; a page in a browser may not, by whatever host's name
/// it got here.
#[test]
fn without_a_token_loopback_may_and_web_pages_may_not() {
    let node = Node::embedded(&[]).ready();
    for (method, path, body) in ROUTES {
        let ask = |head: &str| status(node.admin, method, path, head, body);
        for host in ["127.0.0.1:9090", "localhost", "[::1]:9090"] {
            assert_eq!(ask(&format!("Host: {host}\r\n")), 200, "{path} {host}");
        }
        assert_eq!(ask("Host: rebound.example\r\n"), 421, "{path}");
        for origin in ["https://evil.example", "null", "http://127.0.0.1:9090"] {
            let head = format!("Host: 127.0.0.1:9090\r\nOrigin: {origin}\r\n");
            assert_eq!(ask(&head), 403, "{path} {origin}");
        }
    }
    assert_eq!(counted(&node, "disconnect", "done"), 3.0);
    assert_eq!(counted(&node, "disconnect", "unauthorized"), 4.0);
}

#[rstest]
#[case::no_json("/admin/revoke", "jti=t", "bad_body")]
#[case::nothing("/admin/revoke", "", "bad_body")]
#[case::no_criterion("/admin/revoke", "{}", "bad_body")]
#[case::unknown_member("/admin/revoke", r#"{"jti":"t","user":"ann"}"#, "bad_body")]
#[case::member_twice("/admin/revoke", r#"{"jti":"t","jti":"u"}"#, "bad_body")]
#[case::two_kinds("/admin/revoke", r#"{"jti":"t","sub":"ann"}"#, "bad_body")]
#[case::milliseconds("/admin/revoke", r#"{"issued_before":1763676000123}"#, "bad_parameter")]
#[case::deep("/admin/revoke", &format!("{}1{}", r#"{"issued_before":["#.repeat(200), "]}".repeat(200)), "bad_body")]
#[case::no_criterion_either("/admin/disconnect", "{}", "bad_body")]
#[case::unknown_criterion("/admin/disconnect", r#"{"user":"ann"}"#, "bad_body")]
#[case::bad_channel("/admin/disconnect", r#"{"channel":"a b"}"#, "bad_channel")]
#[case::bad_connection("/admin/disconnect", r#"{"connection":"x"}"#, "bad_parameter")]
#[case::too_large("/admin/disconnect", &format!(r#"{{"sub":"{}"}}"#, "x".repeat(9_000)), "body_too_large")]
fn what_is_no_command_is_refused(#[case] path: &str, #[case] body: &str, #[case] code: &str) {
    let node = Node::embedded(SETTINGS).ready();
    let headers = [("Authorization", "Bearer an-admin-token-for-tests")];
    let mut stream = node.stream(
        "channel=a",
        &[("Authorization", &bearer("ann", &json!({})))],
    );
    let answer = call(node.admin, "POST", path, &headers, body.as_bytes());
    assert_eq!(answer.problem(), code, "{answer:?}");
    assert_eq!(node.metric("sluice_standing_orders"), 0.0);
    let name = path.trim_start_matches("/admin/");
    assert_eq!(counted(&node, name, "refused"), 1.0);
    let published = node.post("a", &[("Authorization", &bearer("ann", &json!({})))], b"x");
    assert_eq!(published.status, 201);
    assert_eq!(stream.next().data, "x", "nobody was disconnected");
}

#[test]
fn other_methods_are_told_which_is_offered() {
    let node = Node::embedded(SETTINGS).ready();
    for (method, path, allowed) in [
        ("GET", "/admin/revoke", "POST"),
        ("PUT", "/admin/disconnect", "POST"),
        ("POST", "/admin/connections", "GET"),
    ] {
        let answer = call(node.admin, method, path, &[], b"");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some(allowed))
        );
    }
}

fn connections(node: &Node, query: &str) -> Answer {
    let headers = [("Authorization", "Bearer an-admin-token-for-tests")];
    call(
        node.admin,
        "GET",
        &format!("/admin/connections{query}"),
        &headers,
        b"",
    )
}

fn listed(node: &Node, query: &str) -> Value {
    let answer = connections(node, query);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!answer.body.contains("eyJ"), "no token, nor a part of one");
    serde_json::from_str(&answer.body).expect("JSON")
}

/// How many are listed, and how many are left out.
fn counts(listed: &Value) -> (usize, u64) {
    let connections = listed["connections"].as_array().expect("a list");
    (
        connections.len(),
        listed["left_out"].as_u64().expect("a number"),
    )
}

/// Streams of nine readers on three workers: two of ann's, seven of bob's.
#[test]
fn connections_are_counted_and_chosen() {
    let settings = [SETTINGS, &[("HTTP__WORKERS", "3"), ("NODE__NAME", "n-1")]].concat();
    let node = Node::embedded(&settings).ready();
    let (ann, bob) = (bearer("ann", &json!({})), bearer("bob", &json!({})));
    let open = |query: &str, bearer: &str| node.stream(query, &[("Authorization", bearer)]);
    let _hers = (open("channel=a&channel=b", &ann), open("channel=a", &ann));
    let _his: Vec<_> = (0..7).map(|_| open("channel=b", &bob)).collect();
    let all = listed(&node, "");
    assert_eq!((counts(&all), &all["node"]), ((9, 0), &json!("n-1")));
    for (query, wanted) in [
        ("?limit=2&sub=bob", (2, 5)),
        ("?limit=8", (8, 1)),
        ("?sub=carl", (0, 0)),
        ("?channel=b&sub=bob", (7, 0)),
        ("?channel=b", (8, 0)),
        ("?channel=c", (0, 0)),
    ] {
        assert_eq!(counts(&listed(&node, query)), wanted, "{query}");
    }
    for bad in [
        "?user=ann",
        "?limit=0",
        "?limit=x",
        "?sub=a&sub=b",
        "?channel=a%20b",
    ] {
        assert_eq!(connections(&node, bad).problem(), "bad_parameter", "{bad}");
    }
    assert_eq!(counted(&node, "connections", "refused"), 5.0);
}

/// What one needs to know of a stream to end just that one.
#[test]
fn a_connection_is_shown_and_can_be_ended() {
    let node = Node::embedded(SETTINGS).ready();
    let issued = now();
    let ann = bearer("ann", &json!({ "jti": "t-1", "iat": issued }));
    let headers = [("Authorization", ann.as_str())];
    let mut one = node.stream("channel=a&channel=b", &headers);
    let mut other = node.stream("channel=a", &headers);
    let position = crate::harness::node::id(&node.post("b", &headers, b"x"));
    assert_eq!(one.next().data, "x");
    let hers = listed(&node, "?sub=ann&channel=b");
    let [first] = hers["connections"].as_array().expect("a list").as_slice() else {
        panic!("{hers}");
    };
    assert_eq!(first["sub"], "ann");
    assert_eq!(first["jti"], "t-1");
    assert_eq!(first["issued_at"], issued);
    assert_eq!(first["channels"]["b"], position);
    let unread = first["channels"]["a"].as_str().expect("a place");
    assert!(unread.starts_with("0-0."), "{unread}");
    assert_eq!(first["events"], 1);
    let address = one.socket.local_addr().expect("connected").to_string();
    assert_eq!(first["address"], address);
    let whom = json!({ "connection": first["connection"] });
    commanded(&node, "/admin/disconnect", &whom);
    assert_eq!(one.next().json()["reason"], "disconnected");
    assert!(one.rest().is_empty());
    assert_eq!(node.post("a", &headers, b"still there").status, 201);
    assert_eq!(other.next().data, "still there");
}

/// One line in the log for each command: who, what, what came of it; and no token in any, nor in a metric.
#[test]
fn commands_are_in_the_log_and_tokens_are_not() {
    let node = Process::start(SETTINGS);
    let ann = bearer("ann", &json!({ "jti": "t-1" }));
    let ann = ann.trim_start_matches("Bearer ");
    let admin = "Bearer an-admin-token-for-tests";
    let headers = [("Authorization", admin)];
    let post = |path: &str, headers: &[(&str, &str)], body: &str| {
        call(node.admin, "POST", path, headers, body.as_bytes())
    };
    let mut told = vec![
        post(
            "/admin/revoke",
            &headers,
            r#"{"sub":"an\nn","issued_before":7}"#,
        ),
        post("/admin/disconnect", &headers, r#"{"channel":"a.b"}"#),
    ];
    // Tokens where none belong.
    let bearer = format!("Bearer {ann}");
    told.push(post("/admin/revoke", &[("Authorization", &bearer)], "{}"));
    told.push(post("/admin/revoke", &headers, &format!("\"{ann}\"")));
    told.push(post("/admin/revoke", &headers, &format!("{{\"{ann}\":1}}")));
    for claim in ["jti", "sub"] {
        let whole = format!("{{\"{claim}\":\"{ann}\"}}");
        told.push(post("/admin/revoke", &headers, &whole));
    }
    let sought = format!("/admin/connections?sub={ann}");
    told.push(call(node.admin, "GET", &sought, &headers, b""));
    told.push(call(
        node.admin,
        "GET",
        &format!("/admin/connections?token={ann}"),
        &headers,
        b"",
    ));
    let log = node.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("admin command"))
        .collect();
    assert_eq!(lines.len(), told.len(), "{log}");
    let id = |answer: &Answer| {
        let json: Value = serde_json::from_str(&answer.body).expect("JSON");
        json["id"].as_str().expect("an id").to_owned()
    };
    for (line, wanted) in [
        (lines[0], id(&told[0]).as_str()),
        (
            lines[0],
            r#"{"order":"revoke","subject":"an\\nn","issued_before":7}"#,
        ),
        (lines[0], "127.0.0.1:"),
        (lines[1], id(&told[1]).as_str()),
        (lines[1], r#"{"order":"disconnect","channel":"a.b"}"#),
        (lines[2], "invalid_token"),
        (lines[3], "bad_body"),
    ] {
        let plain = line.replace("\\\"", "\"").replace("\\\\", "\\");
        assert!(
            plain.contains(wanted) || plain.contains(&wanted.replace("\\\\", "\\")),
            "{line} lacks {wanted}"
        );
    }
    let metrics = call(node.admin, "GET", "/metrics", &[], b"").body;
    for secret in [
        ann,
        ann.rsplit('.').next().expect("a part"),
        "an-admin-token-for-tests",
    ] {
        assert!(!log.contains(secret), "{log}");
        assert!(!metrics.contains(secret));
    }
}
