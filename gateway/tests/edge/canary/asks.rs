//! How the node is asked with a secret: rightly, and in every place where it does not belong.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::harness::http::{Events, call, connect, request};
use crate::harness::tokens::bearer;

/// A client that keeps every answer.
pub(super) struct Client {
    pub public: SocketAddr,
    pub answers: RefCell<Vec<String>>,
}

impl Client {
    fn say(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        let mut answer = call(self.public, method, target, headers, body);
        if (answer.status, target) == (200, "/v1/session") {
            // The one header that is meant to hold a token.
            answer.headers.retain(|(name, _)| name != "set-cookie");
        }
        self.keep(format!("{method} -> {answer:?}"));
        answer.status
    }

    pub fn keep(&self, answer: String) {
        self.answers.borrow_mut().push(answer);
    }

    /// Sends bytes that may be no request, and keeps whatever comes back.
    fn send(&self, bytes: &[u8]) {
        let mut socket = connect(self.public).expect("a connection");
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("a wait");
        // The node may have hung up before the end.
        socket.write_all(bytes).ok();
        let mut back = Vec::new();
        socket.read_to_end(&mut back).ok();
        self.keep(String::from_utf8_lossy(&back).into_owned());
    }
}

/// Each carrier as it is meant.
pub(super) fn rightly(client: &Client, good: &str, cookie: &str, tickets: &[String; 3]) {
    let bearer = bearer(good);
    let carried = [[("Authorization", bearer.as_str())], [("Cookie", cookie)]];
    for headers in &carried {
        let stream = Events::open(client.public, "/v1/events?channel=a", headers);
        client.keep(format!("{:?}", stream.headers));
        for target in [
            "/v1/events?channel=c",
            "/v1/poll?channel=a&timeout=0s",
            "/v1/channels/a/events",
        ] {
            client.say("GET", target, headers, b"");
            client.say("HEAD", target, headers, b"");
        }
        let own = [&headers[..], &[("Origin", "http://sluice.test")]].concat();
        assert_eq!(
            client.say("POST", "/v1/channels/inbox/events", &own, b"x"),
            201
        );
        client.say("POST", "/v1/channels/a/events", &own, b"x");
        client.say(
            "POST",
            "/v1/publish",
            &[&own[..], &[("Content-Type", "application/x-ndjson")]].concat(),
            br#"{"channel":"inbox","data":1}"#,
        );
    }
    client.say(
        "DELETE",
        "/v1/session",
        &[("Cookie", cookie), ("Origin", "http://sluice.test")],
        b"",
    );
    let [stream, poll, history] = tickets;
    let opened = Events::open(
        client.public,
        &format!("/v1/events?channel=a&ticket={stream}"),
        &[],
    );
    client.keep(format!("{:?}", opened.headers));
    let poll = format!("/v1/poll?channel=a&timeout=0s&ticket={poll}");
    let history = format!("/v1/channels/a/events?ticket={history}");
    for (target, status) in [(&poll, 200), (&poll, 401), (&history, 200), (&history, 401)] {
        assert_eq!(client.say("GET", target, &[], b""), status);
    }
}

/// Every place of a request that takes a text, with a secret in it.
pub(super) fn wrongly(client: &Client, good: &str, secret: &str) {
    let good = bearer(good);
    in_credentials(client, &good, secret);
    let known = [("Authorization", good.as_str())];
    in_urls(client, &known, secret);
    in_headers_and_bodies(client, known[0], secret);
    in_broken_requests(client, secret);
}

fn in_credentials(client: &Client, good: &str, secret: &str) {
    let as_bearer = bearer(secret);
    let cookie = format!("__Host-sluice={secret}");
    let carried: [&[(&str, &str)]; 7] = [
        &[("Authorization", &as_bearer)],
        &[("Authorization", secret)],
        &[("Authorization", &format!("Basic {secret}"))],
        &[("Authorization", &format!("{as_bearer} x"))],
        &[("Authorization", good), ("Authorization", &as_bearer)],
        &[("Cookie", &cookie)],
        &[("Cookie", secret), ("Origin", secret)],
    ];
    for headers in carried {
        for target in [
            "/v1/events?channel=c",
            "/v1/poll?channel=a&timeout=0s",
            "/v1/channels/a/events",
        ] {
            client.say("GET", target, headers, b"");
        }
        for target in [
            "/v1/session",
            "/v1/tickets",
            "/v1/publish",
            "/v1/channels/inbox/events",
        ] {
            client.say("POST", target, headers, b"x");
        }
    }
}

fn in_urls(client: &Client, known: &[(&str, &str)], secret: &str) {
    for name in [
        "token",
        "ticket",
        "channel",
        "last_event_id",
        "since",
        "last",
        "envelope",
        "limit",
        "timeout",
        "x",
    ] {
        for path in ["/v1/events", "/v1/poll", "/v1/channels/a/events"] {
            client.say("HEAD", &format!("{path}?{name}={secret}"), known, b"");
            // What a stream ignores would open one.
            let ignored = ["x", "last_event_id", "limit", "timeout"];
            if path != "/v1/events" || !ignored.contains(&name) {
                client.say(
                    "GET",
                    &format!("{path}?{name}={secret}&timeout={secret}"),
                    known,
                    b"",
                );
            }
        }
    }
    for path in [
        format!("/{secret}"),
        format!("/v1/{secret}"),
        format!("/v1/events/{secret}"),
        format!("/v1/channels/{secret}/events"),
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            client.say(method, &path, known, b"x");
        }
    }
}

fn in_headers_and_bodies(client: &Client, known: (&str, &str), secret: &str) {
    for name in [
        "Accept",
        "Content-Type",
        "Content-Encoding",
        "Origin",
        "Expect",
        "Upgrade",
        "Forwarded",
        "X-Request-Id",
        "traceparent",
    ] {
        let headers = [known, (name, secret)];
        client.say("GET", "/v1/poll?channel=a&timeout=0s", &headers, b"");
        client.say("POST", "/v1/tickets", &headers, br#"{"channels":["a"]}"#);
        client.say("POST", "/v1/channels/inbox/events", &headers, b"x");
    }
    for body in [
        json!({ secret: 1 }),
        json!({"channels": [secret]}),
        json!({"channels": secret}),
        json!(secret),
    ] {
        let body = body.to_string();
        client.say("POST", "/v1/tickets", &[known], body.as_bytes());
        client.say("POST", "/v1/events", &[known], body.as_bytes());
        let lines = [known, ("Content-Type", "application/x-ndjson")];
        client.say("POST", "/v1/publish", &lines, body.as_bytes());
    }
}

fn in_broken_requests(client: &Client, secret: &str) {
    for head in [
        "Content-Length: SECRET",
        "Transfer-Encoding: SECRET",
        "SECRET",
        "SECRET: x\r\nSECRET y",
    ] {
        let head = head.replace("SECRET", secret);
        client.send(
            format!("GET /v1/events?channel=c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{head}\r\n\r\n").as_bytes(),
        );
    }
    client.send(format!("{secret} / HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    let long = secret.repeat(200_000 / secret.len());
    for bytes in [9_000, 200_000] {
        let token = bearer(long.get(..bytes).unwrap_or(&long));
        client.send(&request(
            "GET",
            "/v1/poll?channel=a&timeout=0s",
            &[("Authorization", &token), ("Connection", "close")],
            b"",
        ));
    }
}

/// The same over HTTP/2, which has a machinery of its own.
pub(super) fn over_http2(client: &Client, secret: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let socket = tokio::net::TcpStream::connect(client.public)
            .await
            .expect("connected");
        let (requests, connection) = h2::client::handshake(socket).await.expect("h2");
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(async { connection.await.unwrap_or_default() });
        let mut requests = requests.ready().await.expect("room");
        let uri = format!("http://sluice.test/v1/poll?channel=a&timeout=0s&ticket={secret}");
        for (name, value) in [
            ("authorization", bearer(secret)),
            ("cookie", format!("__Host-sluice={secret}")),
            ("x-odd", secret.to_owned()),
            ("x-request-id", secret.to_owned()),
        ] {
            let request = http::Request::get(&uri)
                .header(name, value)
                .body(())
                .expect("a request");
            let answer = requests.send_request(request, true).expect("sent").0;
            let answer = answer.await.expect("an answer");
            client.keep(format!("{:?}", answer.headers()));
        }
    });
}
