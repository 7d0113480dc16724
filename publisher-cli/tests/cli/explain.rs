//! `sluice tail --explain`: what it asks the admin listener, and what it says.

use serde_json::{Value, json};

use crate::support::{NOBODY, Responder, Running, event_stream, reply, run, sluice};

const POSITION: &str = "1763676000123-0.9f2c41aa";
const NAME: &str = "BwcHBwcHBwcHBwcHBwcHBw";

fn open() -> String {
    format!(
        "event: sluice.open\nid: {POSITION}\nretry: 1\ndata: {{\"connection\":\"{NAME}\",\"channels\":{{}}}}\n\n"
    )
}

fn json_reply(body: &Value) -> String {
    reply("200 OK", "application/json", &body.to_string())
}

fn allowed() -> String {
    json_reply(&json!({"allowed": true, "code": null, "steps": [
        {"check": "form", "ok": true, "detail": "three parts"},
        {"check": "patterns", "ok": true, "detail": "`orders` stands for `orders`"},
    ]}))
}

fn became(verdict: &str, detail: &str) -> String {
    json_reply(
        &json!({"connection": NAME, "channel": "orders", "id": POSITION, "verdict": verdict, "detail": detail}),
    )
}

fn tail(gateway: &Responder, admin: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = gateway.sluice(&[&["tail", "orders"], arguments].concat());
    command
        .env("SLUICE_TOKEN", "t0ken")
        .env("SLUICE_ADMIN_URL", admin);
    command.env("SLUICE_ADMIN_TOKEN", "adm1n");
    command
}

/// First why the token may read, with the admin's own token; then, when the stream has ended, what became of its last event.
#[test]
fn a_tail_says_why_it_may_read_and_what_became_of_its_last_event() {
    let admin = Responder::new(vec![allowed(), became("delivered", "delivered: so it was")]);
    let stream = format!("{}id: {POSITION}\ndata: one\n\n", open());
    let gateway = Responder::new(vec![event_stream(&stream)]);
    let tail = Running::start(tail(&gateway, &admin.url, &["--explain"]));
    assert_eq!(tail.stdout.next(), "one");
    assert_eq!(
        tail.stderr.take(2),
        [
            "explain: orders: the token may read it: `orders` stands for `orders`".to_owned(),
            format!("explain: orders {POSITION}: delivered: so it was"),
        ]
    );
    let (token, event) = (admin.request(), admin.request());
    for request in [&token, &event] {
        assert_eq!(request.line, "POST /admin/explain");
        assert_eq!(request.header("authorization"), Some("Bearer adm1n"));
    }
    let asked: Value = serde_json::from_str(&token.body).unwrap();
    assert_eq!(
        asked,
        json!({"token": "t0ken", "channel": "orders", "action": "subscribe"})
    );
    let asked: Value = serde_json::from_str(&event.body).unwrap();
    assert_eq!(
        asked,
        json!({"connection": NAME, "channel": "orders", "id": POSITION})
    );
    assert_eq!(
        gateway.request().header("authorization"),
        Some("Bearer t0ken")
    );
}

/// A tail that stops by itself has had its last event too.
#[test]
fn a_tail_that_stops_says_what_became_of_its_last_event() {
    let last = "1763676000999-0.00000001";
    let admin = Responder::new(vec![allowed(), became("delivered", "delivered: so it was")]);
    let stream = format!("{}id: {last}\ndata: one\n\n", open());
    let gateway = Responder::new(vec![event_stream(&stream)]);
    let ran = run(tail(&gateway, &admin.url, &["--explain", "--count", "1"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "one\n"));
    assert_eq!(ran.stderr.lines().count(), 2, "{ran:?}");
    admin.request();
    let asked: Value = serde_json::from_str(&admin.request().body).unwrap();
    assert_eq!(asked["id"], last);
}

/// A refusal comes after its explanation: the check that fails, and those before it.
#[test]
fn a_refusal_is_explained() {
    let refused = json!({"allowed": false, "code": "insufficient_scope", "steps": [
        {"check": "form", "ok": true, "detail": "three parts"},
        {"check": "signature", "ok": true, "detail": "made with a key"},
        {"check": "patterns", "ok": false, "detail": "none stands for `orders`: `user.ann`"},
    ]});
    let problem = reply(
        "403 Forbidden",
        "application/problem+json",
        "{\"code\":\"insufficient_scope\",\"detail\":\"not allowed\"}",
    );
    let admin = Responder::new(vec![json_reply(&refused), json_reply(&refused)]);
    let gateway = Responder::new(vec![problem.clone(), problem]);
    let ran = run(tail(&gateway, &admin.url, &["--explain"]));
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.stderr, @"
    explain: orders: the token may not read it (insufficient_scope): patterns: none stands for `orders`: `user.ann`; good so far: form, signature
    error: 403 insufficient_scope: not allowed
    hint: the token's claim `sluice` must allow this channel
    ");
    let ran = run(tail(&gateway, &admin.url, &["--explain", "--json"]));
    let first: Value = serde_json::from_str(ran.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(first["explain"]["channel"], "orders");
    assert_eq!(first["explain"]["steps"], refused["steps"]);
}

/// An event that is named is asked about a while after the stream has opened, while it goes on.
#[test]
fn a_named_event_is_explained_while_the_stream_is_open() {
    let event = "1763676000999-0.00000001";
    let admin = Responder::new(vec![
        allowed(),
        became("not_seen", "not sent: nobody has it"),
        became("ended", "over"),
    ]);
    // A length that never comes: the stream stays open.
    let endless = event_stream(&open()).replace("connection: close", "content-length: 100000");
    let gateway = Responder::new(vec![endless]);
    let explain = format!("--explain={event}");
    let tail = Running::start(tail(&gateway, &admin.url, &[&explain, "--count", "1"]));
    let told = tail.stderr.take(2);
    assert!(told[1].ends_with(": not sent: nobody has it"), "{told:?}");
    admin.request();
    let asked: Value = serde_json::from_str(&admin.request().body).unwrap();
    assert_eq!(
        (&asked["id"], &asked["connection"]),
        (&json!(event), &json!(NAME))
    );
}

/// Whoever cannot be asked spoils nothing; what can never be answered is a misuse.
#[test]
fn an_admin_listener_that_is_away_is_noted_and_none_is_refused() {
    let gateway = Responder::new(vec![event_stream(&format!(
        "{}id: {POSITION}\ndata: one\n\n",
        open()
    ))]);
    let ran = run(tail(
        &gateway,
        &format!("http://{NOBODY}"),
        &["--explain", "--count", "1"],
    ));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "one\n"));
    let notes: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        notes
            .iter()
            .all(|note| note.starts_with("note: cannot be explained: ")),
        "{notes:?}"
    );
    assert!(
        !ran.stderr.contains("adm1n") && !ran.stderr.contains("t0ken"),
        "{notes:?}"
    );
    for (arguments, told) in [
        (
            &["tail", "a", "--gateway", "http://g", "--explain"][..],
            "its address is not known",
        ),
        (
            &[
                "tail",
                "a",
                "--redis",
                "redis://r",
                "--explain",
                "--admin",
                "http://a",
            ],
            "which Redis knows nothing of",
        ),
        (
            &[
                "tail",
                "a",
                "--gateway",
                "http://g",
                "--explain=x",
                "--admin",
                "http://a",
            ],
            "not a position",
        ),
    ] {
        let ran = run(sluice(arguments));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(told), "{ran:?}");
    }
}

/// The warning ahead of a token's end is a note, not an event.
#[test]
fn a_token_that_is_about_to_expire_is_noted() {
    let warning = "event: sluice.expiring\nid: p\ndata: {\"expires_at\":\"2025-11-20T22:01:00Z\",\"seconds\":60}\n\n";
    let gateway = Responder::new(vec![event_stream(&format!(
        "{}{warning}id: p\ndata: one\n\n",
        open()
    ))]);
    let ran = run(gateway.sluice(&["tail", "orders", "--count", "1"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "one\n"));
    assert_eq!(
        ran.stderr,
        "note: the token expires at 2025-11-20T22:01:00Z, and the stream ends with it\n"
    );
}
