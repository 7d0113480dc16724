//! Keys from a URL, end to end: an issuer that is away, hostile, slow, or changes its keys under open streams.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;

use crate::forged::authenticator;
use crate::harness::http::{self, Answer as Reply, Events};
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::{PATIENCE, find, stays, wait};
use crate::tokens::server::{Answer, Server};
use crate::tokens::{Issuer, b64, claims, key_set};

fn node(url: &str, further: &[(&str, &str)]) -> Node {
    let base = [
        ("AUTH__MODE", "jwt"),
        ("AUTH__JWT__JWKS_URL", url),
        ("AUTH__JWT__AUDIENCE", "sluice"),
    ];
    Node::embedded(&[&base, further].concat()).ready()
}

fn publish(node: &Node, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    node.post("inbox", &[("Authorization", &*bearer)], b"hello")
}

fn looks(node: &Node, outcome: &str) -> f64 {
    node.metric(&format!(
        "sluice_jwks_refreshes_total{{outcome=\"{outcome}\"}}"
    ))
}

fn down() -> Answer {
    Answer::Plain(503, String::new(), b"later".to_vec())
}

/// An address where nobody listens.
fn nowhere() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}/keys", socket.local_addr().expect("bound"))
}

/// The node starts, says so, and asks callers to come again, an EventSource in the way that it survives.
#[test]
fn a_node_starts_without_its_issuer_and_serves_when_it_is_there() {
    let issuer = Issuer::trusted("ES256");
    let server = Server::start(down());
    let node = node(&server.url(), &[("AUTH__JWT__JWKS_REFRESH", "1s")]);
    let answer = publish(&node, &issuer.good());
    assert_eq!(
        (answer.status, &*answer.problem()),
        (503, "keys_unavailable")
    );
    let wait_for: u64 = answer
        .header("retry-after")
        .expect("set")
        .parse()
        .expect("seconds");
    assert!((5..=15).contains(&wait_for), "{wait_for}");
    assert_eq!(answer.header("www-authenticate"), None);

    let bearer = format!("Bearer {}", issuer.good());
    let headers = [
        ("Authorization", &*bearer),
        ("Accept", "text/event-stream"),
        ("Last-Event-ID", "1763676000123-0.9f2c41aa"),
    ];
    let answer = node.get("/v1/events?channel=inbox", &headers);
    assert_eq!(answer.status, 200, "{answer:?}");
    for line in [
        "event: sluice.close",
        "id: 1763676000123-0.9f2c41aa",
        "data: {\"reason\":\"unavailable\"}",
    ] {
        assert!(answer.body.contains(line), "{answer:?}");
    }
    assert!(answer.body.contains("retry: "), "{answer:?}");
    let rejected = "sluice_connections_rejected_total{reason=\"keys_unavailable\"}";
    assert_eq!(node.metric(rejected), 1.0);
    let failures = "sluice_auth_failures_total{code=\"keys_unavailable\"}";
    assert_eq!(node.metric(failures), 2.0);
    let answer = node.get("/v1/events?channel=inbox", &headers[..1]);
    assert_eq!(answer.status, 503, "who understands a status is told one");
    assert!(node.metric("sluice_jwks_age_seconds") > 0.0);
    assert_eq!(node.metric("sluice_jwks_keys"), 0.0);

    server.set(Answer::Keys(key_set(&[&issuer])));
    wait("the keys are there", &201, PATIENCE, || {
        publish(&node, &issuer.good()).status
    });
    assert_eq!(node.metric("sluice_jwks_keys"), 1.0);
    assert!(looks(&node, "bad_status") >= 1.0 && looks(&node, "loaded") >= 1.0);
}

/// The log says that the issuer is away, once, and where it was looked for, without what the URL's query says.
#[test]
fn the_log_tells_of_an_issuer_that_is_away() {
    let url = format!("{}?policy=canary", nowhere());
    let process = Process::start(&[
        ("AUTH__MODE", "jwt"),
        ("AUTH__JWT__JWKS_URL", &url),
        ("AUTH__JWT__JWKS_REFRESH", "1s"),
        ("LOG__FORMAT", "json"),
    ]);
    wait("three looks", &true, PATIENCE, || {
        process.metric("sluice_jwks_refreshes_total{outcome=\"unreachable\"}") >= 3.0
    });
    let log = process.log();
    assert_eq!(
        log.matches("the keys of auth.jwt.jwks_url cannot be had")
            .count(),
        1,
        "{log}"
    );
    assert!(
        log.contains("keys_unavailable") && log.contains("/keys"),
        "{log}"
    );
    assert!(!log.contains("canary"), "{log}");
}

fn plain(body: &str) -> Answer {
    Answer::Plain(200, String::new(), body.as_bytes().to_vec())
}

/// Where a redirect would lead: an issuer that would be believed, were it asked.
fn away(status: u16, decoy: &Server) -> Answer {
    let location = format!("location: {}\r\nrefresh: 0; url={0}\r\n", decoy.url());
    Answer::Plain(status, location, b"{}".to_vec())
}

/// Answers and what each counts as.
fn hostile(kind: &str, decoy: &Server) -> Vec<(Answer, &'static str)> {
    let mut private = Issuer::stranger("ES256").jwk();
    private["d"] = b64([7; 32]).into();
    let shared = json!({"kty": "oct", "k": b64("x".repeat(64)), "kid": "key-1"});
    match kind {
        "redirects" => vec![
            (away(301, decoy), "bad_status"),
            (away(302, decoy), "bad_status"),
            (away(307, decoy), "bad_status"),
            (away(308, decoy), "bad_status"),
            (away(200, decoy), "malformed"),
        ],
        "statuses" => vec![
            (down(), "bad_status"),
            (
                Answer::Plain(404, String::new(), b"{}".to_vec()),
                "bad_status",
            ),
            (Answer::Plain(204, String::new(), Vec::new()), "bad_status"),
            (Answer::Garbage, "unreachable"),
            (Answer::Cut, "unreachable"),
        ],
        "bounds" => vec![
            (Answer::Endless, "too_large"),
            (
                plain(&json!({"keys": [], "x": "x".repeat(70_000)}).to_string()),
                "too_large",
            ),
            (Answer::Trickle, "timeout"),
            (Answer::Silence, "timeout"),
            (plain(&"[".repeat(60_000)), "malformed"),
            (
                Answer::Keys(json!({"keys": vec![json!({}); 101]})),
                "malformed",
            ),
        ],
        "documents" => vec![
            (plain(""), "malformed"),
            (plain("<html>keys</html>"), "malformed"),
            (plain("[]"), "malformed"),
            (plain(r#"{"keys":"none"}"#), "malformed"),
            (plain(r#"{"keys":[],"keys":[]}"#), "malformed"),
        ],
        _ => vec![
            (Answer::Keys(json!({"keys": []})), "no_keys"),
            (Answer::Keys(json!({"keys": [1, null, [], {}]})), "no_keys"),
            (Answer::Keys(json!({"keys": [private]})), "no_keys"),
            (Answer::Keys(json!({"keys": [shared]})), "no_keys"),
        ],
    }
}

/// Whatever comes from the URL, keys from before stay good, the time and the bytes are bounded, no redirect is followed.
#[rstest]
fn a_hostile_issuer_changes_nothing(
    #[values("redirects", "statuses", "bounds", "documents", "keys")] kind: &str,
) {
    let issuer = Issuer::trusted("ES256");
    let decoy = Server::start(Answer::Keys(key_set(&[&issuer])));
    let server = Server::start(Answer::Keys(key_set(&[&issuer])));
    let node = node(
        &server.url(),
        &[
            ("AUTH__JWT__JWKS_REFRESH", "1s"),
            ("AUTH__JWT__JWKS_TIMEOUT", "300ms"),
            ("AUTH__JWT__JWKS_BYTES", "64KiB"),
        ],
    );
    wait("the keys are there", &201, PATIENCE, || {
        publish(&node, &issuer.good()).status
    });
    for (answer, outcome) in hostile(kind, &decoy) {
        let before = looks(&node, outcome);
        let about = format!("{answer:.200?}");
        server.set(answer);
        find(&about, PATIENCE, || {
            (looks(&node, outcome) > before).then_some(())
        });
        let reply = publish(&node, &issuer.good());
        assert_eq!(reply.status, 201, "{about}: {reply:?}");
        let forged = publish(&node, &Issuer::stranger("ES256").good());
        assert_eq!(forged.problem(), "invalid_token", "{about}");
    }
    assert_eq!(decoy.asked(), 0, "a redirect was followed");
    assert_eq!(node.metric("sluice_jwks_keys"), 1.0);
    assert!(node.metric("sluice_jwks_age_seconds") > 1.0);

    // An unknown name cannot be judged while the issuer is away: it may be the newest key's.
    server.set(Answer::Silence);
    let reply = publish(&node, &Issuer::trusted("ES256").named("newest").good());
    assert_eq!((reply.status, &*reply.problem()), (503, "keys_unavailable"));
}

/// However many tokens name unknown keys, the issuer is hardly asked; and nobody who is honest notices.
#[test]
fn a_flood_of_unknown_keys_does_not_reach_the_issuer() {
    const SENT: usize = 400;
    let issuer = Issuer::trusted("EdDSA");
    let server = Server::start(Answer::Keys(key_set(&[&issuer])));
    let node = node(&server.url(), &[("AUTH__JWT__JWKS_REFRESH", "1h")]);
    wait("the keys are there", &201, PATIENCE, || {
        publish(&node, &issuer.good()).status
    });
    let began = Instant::now();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (node, stranger) = (&node, Issuer::stranger("EdDSA"));
            scope.spawn(move || {
                let mut header = stranger.header();
                for number in 0..SENT / 4 {
                    header["kid"] = format!("unknown-{thread}-{number}").into();
                    let token = stranger.seal(header.to_string(), claims().to_string());
                    let reply = publish(node, &token);
                    assert_eq!((reply.status, &*reply.problem()), (401, "invalid_token"));
                }
            });
        }
        for _ in 0..SENT / 4 {
            assert_eq!(publish(&node, &issuer.good()).status, 201);
        }
    });
    let most = 2 + usize::try_from(began.elapsed().as_secs()).expect("small") / 10;
    assert!(
        server.asked() <= most,
        "{} looks, at most {most}",
        server.asked()
    );
}

/// Callers who wait for the same look cause one.
#[test]
fn callers_share_one_look() {
    const CALLERS: usize = 8;
    let issuer = Issuer::trusted("EdDSA");
    let server = Server::start(Answer::Silence);
    let node = node(&server.url(), &[("AUTH__JWT__JWKS_TIMEOUT", "30s")]);
    let begun = AtomicUsize::new(0);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    let bearer = format!("Bearer {}", issuer.good());
                    begun.fetch_add(1, Ordering::SeqCst);
                    publish_as(&node, &bearer).status
                })
            })
            .collect();
        wait("all have asked", &CALLERS, PATIENCE, || {
            begun.load(Ordering::SeqCst)
        });
        stays("one look", &1, Duration::from_millis(300), || {
            server.asked()
        });
        server.set(Answer::Keys(key_set(&[&issuer])));
        for caller in callers {
            assert_eq!(caller.join().expect("no panic"), 201);
        }
    });
    assert_eq!(server.asked(), 1);
}

fn publish_as(node: &Node, bearer: &str) -> Reply {
    node.post("inbox", &[("Authorization", bearer)], b"hello")
}

/// The issuer changes its key: new tokens are accepted at once, old ones for a while, streams live on; then the old key is
/// gone.
#[test]
fn a_rotation_costs_no_stream_and_no_honest_caller() {
    let (old, new) = (
        Issuer::trusted("ES256").named("old"),
        Issuer::trusted("ES256").named("new"),
    );
    let server = Server::start(Answer::Keys(key_set(&[&old])));
    let node = node(&server.url(), &[("AUTH__JWT__JWKS_REFRESH", "3s")]);
    wait("the keys are there", &201, PATIENCE, || {
        publish(&node, &old.good()).status
    });
    let (old_bearer, new_bearer) = (
        format!("Bearer {}", old.good()),
        format!("Bearer {}", new.good()),
    );
    let open = |bearer: &str| {
        let mut stream = Events::open(
            node.public,
            "/v1/events?channel=news",
            &[("Authorization", bearer)],
        );
        assert_eq!(stream.next().event, "sluice.open");
        stream
    };
    let mut before = open(&old_bearer);

    server.set(Answer::Keys(key_set(&[&new])));
    // By the unknown name, not by the interval alone, the new key is found.
    wait("the new key is known", &201, PATIENCE, || {
        publish(&node, &new.good()).status
    });
    assert_eq!(publish(&node, &old.good()).status, 201, "still for a while");
    assert_eq!(node.metric("sluice_jwks_keys"), 2.0);
    let mut after = open(&new_bearer);

    wait("the old key is gone", &401, PATIENCE, || {
        publish(&node, &old.good()).status
    });
    assert_eq!(publish(&node, &old.good()).problem(), "invalid_token");
    let sent = node.post("news", &[("Authorization", &*new_bearer)], b"all hear this");
    assert_eq!(sent.status, 201);
    for stream in [&mut before, &mut after] {
        assert_eq!(stream.next().data, "all hear this");
    }
    assert!(looks(&node, "loaded") >= 2.0);
}

/// Without a task that looks there, keys from a URL are waited for no longer than allowed.
#[actix_web::test]
async fn a_wait_for_keys_is_bounded() {
    let url = nowhere();
    let authenticator = authenticator(&[
        ("AUTH__MODE", "jwt".to_owned()),
        ("AUTH__JWT__JWKS_URL", url),
        ("AUTH__JWT__JWKS_TIMEOUT", "100ms".to_owned()),
    ]);
    let authenticator = authenticator.expect("not looked at yet");
    let began = Instant::now();
    let refused = authenticator.verify(&Issuer::trusted("ES256").good()).await;
    let refused = refused.expect_err("no keys");
    assert_eq!(refused.code().as_label(), "keys_unavailable");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

/// Over https the issuer's certificate must be one that the system trusts, and for its name.
#[test]
fn an_issuer_is_believed_only_with_a_certificate_that_is_trusted() {
    let issuer = Issuer::trusted("ES256");
    let keys = || Answer::Keys(key_set(&[&issuer]));
    let (certificate, config) = certified("localhost");
    let (_, unknown) = certified("localhost");
    let (other_name, misnamed) = certified("issuer.example");
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, certificate + &other_name).expect("written");
    let trust = [("SSL_CERT_FILE", roots.to_str().expect("UTF-8"))];
    for (config, outcome, status) in [
        (config, "loaded", 201),
        (unknown, "unreachable", 503),
        (misnamed, "unreachable", 503),
    ] {
        let server = Server::start_tls(keys(), config);
        let url = format!("https://localhost:{}/keys", server.address.port());
        let settings = [
            ("AUTH__MODE", "jwt"),
            ("AUTH__JWT__JWKS_URL", &url),
            ("AUTH__JWT__AUDIENCE", "sluice"),
        ];
        let process = Process::start_in(&settings, &trust);
        let count = format!("sluice_jwks_refreshes_total{{outcome=\"{outcome}\"}}");
        wait(outcome, &1.0, PATIENCE, || process.metric(&count));
        let bearer = format!("Bearer {}", issuer.good());
        let target = "/v1/channels/inbox/events";
        let headers = [("Authorization", &*bearer)];
        let answer = http::call(process.public, "POST", target, &headers, b"x");
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(server.asked(), usize::from(outcome == "loaded"));
    }
}

/// A certificate that vouches for itself, as PEM and as a server uses it.
fn certified(name: &str) -> (String, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a good certificate");
    (made.cert.pem(), Arc::new(config))
}
