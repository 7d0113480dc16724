//! No token, ticket, cookie or secret leaves the gateway by any other way than the one it is meant for. A node at its most
//! verbose is asked rightly and wrongly with each of them, and then all that it has said is searched: its log and output,
//! every answer, its metrics, and what Redis heard.

mod asks;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use self::asks::{Client, over_http2, rightly, wrongly};
use crate::harness::http::{Answer, call};
use crate::harness::process::Process;
use crate::harness::redis_server::RedisServer;
use crate::harness::tokens::{SECRET, bearer, claims, now, settings, sign};

const ADMIN: &str = "Canary-admin-0123456789-abcdef";
const PASSWORD: &str = "Canary-redis-0123456789-abcdef";

/// Secrets, cut so that half of one is found too.
#[derive(Default)]
struct Canaries(Vec<String>);

impl Canaries {
    fn add(&mut self, secret: &str) {
        // Head and dots of a token say nothing; what it says, and its signature, are secret by themselves.
        for piece in secret.split('.').filter(|piece| piece.len() >= 24) {
            if !piece.starts_with("eyJ0eXAi") {
                self.0.push(piece[..20].to_owned());
                self.0.push(piece[piece.len() - 12..].to_owned());
            }
        }
    }

    /// The secrets that are in a text.
    fn heard_in(&self, text: &str) -> Vec<&str> {
        let found = self.0.iter().filter(|canary| text.contains(*canary));
        found.map(String::as_str).collect()
    }
}

/// Everything that Redis is told, from now on.
struct Monitor {
    socket: TcpStream,
    reader: JoinHandle<String>,
}

impl Monitor {
    fn start(redis: &RedisServer) -> Monitor {
        let address = redis.url();
        let address = address.trim_start_matches("redis://").trim_end_matches('/');
        let mut socket = TcpStream::connect(address).expect("connected");
        socket.write_all(b"MONITOR\r\n").expect("sent");
        let mut ok = [0; 5];
        socket.read_exact(&mut ok).expect("+OK");
        let mut other = socket.try_clone().expect("a second handle");
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            other.read_to_end(&mut text).ok();
            String::from_utf8_lossy(&text).into_owned()
        });
        Monitor { socket, reader }
    }

    fn end(self) -> String {
        self.socket.shutdown(std::net::Shutdown::Both).ok();
        self.reader.join().expect("read")
    }
}

/// The ticket and the cookie that a token is exchanged for: the two answers that may hold a secret.
fn exchange(public: SocketAddr, token: &str) -> (String, String) {
    let bearer = bearer(token);
    let headers = [("Authorization", bearer.as_str())];
    let answer = call(public, "POST", "/v1/session", &headers, b"");
    let set = answer.header("set-cookie").expect("set");
    let pair = set.split(';').next().expect("a pair").to_owned();
    let answer: Answer = call(public, "POST", "/v1/tickets", &headers, b"");
    let json: Value = serde_json::from_str(&answer.body).expect("JSON");
    (pair, json["ticket"].as_str().expect("a ticket").to_owned())
}

/// With a log as verbose as it can be, in both of its forms.
#[rstest]
#[case("human", "TRACE")]
#[case("json", "\"level\":\"TRACE\"")]
fn no_secret_is_told(#[case] format: &str, #[case] verbose: &str) {
    let redis = RedisServer::start();
    let password = format!(">{PASSWORD}");
    let _: () = redis.run(&[
        "ACL", "SETUSER", "node", "on", &password, "~*", "&*", "+@all",
    ]);
    let url = redis
        .url()
        .replace("redis://", &format!("redis://node:{PASSWORD}@"));
    let settings = settings(&[
        ("BROKER__MODE", "redis"),
        ("REDIS__URL", &url),
        ("ADMIN__TOKEN", ADMIN),
        ("LOG__FILTER", "trace"),
        ("LOG__FORMAT", format),
        ("HTTP__CORS_ORIGINS", "https://app.example"),
    ]);
    let mut process = Process::start(&settings);
    let monitor = Monitor::start(&redis);
    let client = Client {
        public: process.public,
        answers: RefCell::default(),
    };

    let claims = claims("ann", &["a", "b", "user.{sub}"], &["inbox"], 60);
    let good = sign(&claims, SECRET);
    let forged = sign(&claims, "another secret of thirty-two bytes");
    let expired = sign(&json!({"sub": "ann", "exp": now() - 5}), SECRET);
    let (cookie, unused) = exchange(process.public, &good);
    let tickets = [(); 3].map(|()| exchange(process.public, &good).1);
    let (_, value) = cookie.split_once('=').expect("a pair");
    let mut canaries = Canaries::default();
    let carried = [&good, &forged, &expired, value, &unused, &tickets[0]];
    for secret in carried
        .iter()
        .chain(&[&tickets[1], &tickets[2], SECRET, ADMIN, PASSWORD])
    {
        canaries.add(secret);
    }
    rightly(&client, &good, &cookie, &tickets);
    for secret in carried {
        wrongly(&client, &good, secret);
        over_http2(&client, secret);
    }
    for token in [ADMIN, "Canary-wrong-0123456789-abcdef", &good] {
        for (method, path) in [
            ("GET", "/metrics"),
            ("GET", "/healthz"),
            ("POST", "/admin/revoke"),
            ("GET", "/admin/connections"),
        ] {
            let answer = call(
                process.admin,
                method,
                path,
                &[("Authorization", &bearer(token))],
                b"{}",
            );
            client.keep(format!("{answer:?}"));
        }
    }
    let metrics = call(process.admin, "GET", "/metrics", &[], b"").body;
    process.terminate();
    assert!(
        process.exit(Duration::from_secs(40)).success(),
        "nothing has panicked"
    );

    let (log, answers) = (process.log(), client.answers.into_inner().join("\n"));
    let monitored = monitor.end();
    for (text, mark) in [
        (&log, verbose),
        (&log, "stream ended"),
        (&answers, "bad_ticket"),
        (&monitored, "GETDEL"),
    ] {
        assert!(text.contains(mark), "{mark}: looked in the right place");
    }
    let all = [
        ("log", &log),
        ("output", &process.said()),
        ("answers", &answers),
        ("metrics", &metrics),
        ("Redis", &monitored),
    ];
    for (place, text) in all {
        for line in text.lines() {
            let heard = canaries.heard_in(line);
            assert!(heard.is_empty(), "{place} tells {heard:?}: {line}");
        }
        // And it would have been heard there.
        for secret in carried {
            let spoilt = format!("{text}\nGET /v1/events?ticket={secret}&channel=a");
            assert!(!canaries.heard_in(&spoilt).is_empty(), "{place}");
        }
    }
}

/// What the test goes by finds each secret, whole, in part, and in whatever stands around it.
#[test]
fn the_canary_sings() {
    let token = sign(&claims("ann", &["a"], &[], 60), SECRET);
    let other = sign(&claims("bob", &["a"], &[], 60), SECRET);
    let mut canaries = Canaries::default();
    for secret in [&token, SECRET, ADMIN, PASSWORD] {
        canaries.add(secret);
    }
    let signature = token.rsplit('.').next().expect("three parts");
    for leak in [
        token.as_str(),
        signature,
        &signature[..30],
        SECRET,
        ADMIN,
        PASSWORD,
        &token[..80],
    ] {
        let line = format!("DEBUG request{{uri=\"/v1/events?token={leak}\"}}: \"x\"");
        assert!(!canaries.heard_in(&line).is_empty(), "{leak}");
    }
    let signature = other.rsplit('.').next().expect("three parts");
    assert!(
        canaries.heard_in(signature).is_empty(),
        "nothing but the secrets"
    );
}

/// A secret in its own place is not printed; in a wrong place it stops the start and is not repeated.
#[test]
fn no_command_prints_a_secret() {
    let run = |argument: &str, more: &[(&str, &str)]| {
        let good = [
            ("SLUICE__AUTH__MODE", "jwt"),
            ("SLUICE__AUTH__JWT__SECRET", SECRET),
            ("SLUICE__ADMIN__TOKEN", ADMIN),
            (
                "SLUICE__REDIS__URL",
                "redis://node:Canary-redis-0123456789-abcdef@redis.example",
            ),
        ];
        let output = Command::new(env!("CARGO_BIN_EXE_sluice-gateway"))
            .env_clear()
            .arg(argument)
            .envs(good)
            .envs(more.iter().copied())
            .output()
            .expect("the node's binary");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8(text).expect("UTF-8"),
        )
    };
    let mut canaries = Canaries::default();
    for secret in [SECRET, ADMIN, PASSWORD] {
        canaries.add(secret);
    }
    for argument in ["--print-config", "--check-config"] {
        let (code, text) = run(argument, &[]);
        assert_eq!(
            (code, canaries.heard_in(&text)),
            (Some(0), vec![]),
            "{text}"
        );
    }
    for key in [
        "HTTP__BIND",
        "AUTH__MODE",
        "AUTH__JWT__ALGORITHMS",
        "AUTH__JWT__LEEWAY",
        "AUTH__QUERY_TOKEN",
        "LOG__FORMAT",
        "LIMITS__CONNECTIONS",
        "LIMITS__EVENT_BYTES",
        "TICKETS__TTL",
        "SESSION__SAME_SITE",
        "SESSION__DOMAIN",
        "REDIS__URL",
        "REDIS__MODE",
        "STREAM__HEARTBEAT",
        "AUTH__JWT__SECRETT",
        "ADMIN",
    ] {
        let (code, text) = run("--check-config", &[(&format!("SLUICE__{key}"), SECRET)]);
        assert_eq!(
            (code, canaries.heard_in(&text)),
            (Some(64), vec![]),
            "{key}: {text}"
        );
    }
}
