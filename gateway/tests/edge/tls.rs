//! TLS at the public listener, as clients meet it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rstest::rstest;
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::clients::{
    Certificates, Connection, Kind, Open, block_on, body_until, gauge, handshake, read_until,
    sample,
};
use crate::harness::http::{connect, request};
use crate::harness::node::Node;
use crate::harness::{PATIENCE, wait};

const SOON: Duration = Duration::from_secs(3);
const LOADED: &str = "sluice_tls_reloads_total{outcome=\"loaded\"}";
const REFUSED: &str = "sluice_tls_reloads_total{outcome=\"refused\"}";
const EXPIRY: &str = "sluice_tls_certificate_expiry_timestamp_seconds";
const NO_HANDSHAKE: &str = "sluice_transport_ended_total{cause=\"handshake_failed\"}";
const SLOW_HANDSHAKE: &str = "sluice_transport_ended_total{cause=\"handshake_timeout\"}";
const SILENT: &str = "sluice_transport_ended_total{cause=\"silent\"}";
const TOO_LATE: &str = "sluice_transport_ended_total{cause=\"head_timeout\"}";

fn node(certificates: &Certificates, settings: &[(&str, &str)]) -> Node {
    let files = certificates.settings();
    let tls: Vec<(&str, &str)> = files
        .iter()
        .map(|(key, file)| (*key, file.as_str()))
        .collect();
    Node::embedded(&[&tls, settings].concat()).ready()
}

/// Publishes over TLS.
async fn publish(node: &Node, certificates: &Certificates, data: &str) {
    let client = certificates.client(&[b"http/1.1"], rustls::ALL_VERSIONS);
    let mut io = handshake(node.public, client).await.expect("a handshake");
    let ask = request("POST", "/v1/channels/a/events", &[], data.as_bytes());
    io.write_all(&ask).await.expect("sent");
    let answer = read_until(&mut io, "}").await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

/// Both protocols over both versions; HTTP/2 is what a client gets that offers both, HTTP/1.1 what one gets that
/// offers nothing.
#[rstest]
#[case::tls12(&TLS12, ProtocolVersion::TLSv1_2)]
#[case::tls13(&TLS13, ProtocolVersion::TLSv1_3)]
fn both_protocols_are_spoken(
    #[case] version: &'static SupportedProtocolVersion,
    #[case] spoken: ProtocolVersion,
) {
    let certificates = Certificates::made();
    let node = node(&certificates, &[]);
    block_on(async {
        let client = certificates.client(&[b"http/1.1", b"h2"], &[version]);
        let io = handshake(node.public, client).await.expect("a handshake");
        assert_eq!(io.get_ref().1.protocol_version(), Some(spoken));
        assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut connection = Connection::over(io).await;
        let mut second = connection.stream().await;

        let client = certificates.client(&[], &[version]);
        let mut first = handshake(node.public, client).await.expect("a handshake");
        assert_eq!(first.get_ref().1.alpn_protocol(), None);
        let ask = request("GET", "/v1/events?channel=a", &[], b"");
        first.write_all(&ask).await.expect("sent");
        read_until(&mut first, "sluice.open").await;

        publish(&node, &certificates, "to both").await;
        read_until(&mut first, "data: to both\n").await;
        body_until(&mut second, "data: to both\n").await;
        gauge(&node, "both are streams", 2.0, PATIENCE).await;
    });
}

/// Clients that others have written get their streams too.
#[test]
fn curl_reads_streams_over_both_protocols() {
    let certificates = Certificates::made();
    let node = node(&certificates, &[]);
    let port = node.public.port();
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let output = Command::new("curl")
            .args(["--silent", "--no-buffer", "--max-time", "1", flag])
            .args(["--write-out", "%{http_version} %{ssl_verify_result}\n"])
            .args(["--cacert", &certificates.path("cert.pem")])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .arg(format!("https://localhost:{port}/v1/events?channel=a"))
            .output()
            .expect("curl is installed");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.contains("event: sluice.open\n"), "{flag}: {text}");
        assert!(text.ends_with(&format!("{version} 0\n")), "{flag}: {text}");
    }
}

/// A changed certificate is what new handshakes get, while open streams go on; a broken one changes nothing.
#[test]
fn a_new_certificate_is_taken_and_streams_stay() {
    let certificates = Certificates::made();
    let node = node(&certificates, &[("TLS__RELOAD_INTERVAL", "100ms")]);
    assert!(node.metric(EXPIRY) > 0.0);
    block_on(async {
        let old = certificates.client(&[], rustls::ALL_VERSIONS);
        let before = certificates.current();
        let mut first = Open::connect(node.public, Kind::TlsHttp1, &certificates, 1).await;
        let mut second = Open::connect(node.public, Kind::TlsHttp2, &certificates, 3).await;
        certificates.put("key.pem", "no key at all");
        sample(&node, REFUSED, "it is refused", 1.0, SOON).await;
        let same = handshake(node.public, old.clone())
            .await
            .expect("a handshake");
        assert_eq!(
            same.get_ref().1.peer_certificates().expect("one")[0],
            before
        );

        certificates.renew();
        sample(&node, LOADED, "it is loaded", 1.0, SOON).await;
        let new = certificates.client(&[], rustls::ALL_VERSIONS);
        let io = handshake(node.public, new).await.expect("a handshake");
        let given = io.get_ref().1.peer_certificates().expect("one")[0].clone();
        assert_eq!(given, certificates.current());
        assert_ne!(given, before);
        let mut untaught = old;
        untaught.resumption = rustls::client::Resumption::disabled();
        let error = handshake(node.public, untaught).await.expect_err("another");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");

        publish(&node, &certificates, "after").await;
        first.hears("data: after\n").await;
        second.hears("data: after\n").await;
        gauge(&node, "all streams stayed", 4.0, PATIENCE).await;
    });
    assert_eq!(node.metric("sluice_connections_opened_total"), 4.0);
    // Looked at many times since, each change was told once.
    assert!(
        node.metric(REFUSED) <= 2.0,
        "the pair is put in place one by one"
    );
}

/// A client that has stopped reading is cut through TLS as it is without.
#[rstest]
fn a_stalled_reader_is_cut(#[values(Kind::TlsHttp1, Kind::TlsHttp2)] kind: Kind) {
    let certificates = Certificates::made();
    let node = node(
        &certificates,
        &[
            ("STREAM__SLOW_CONSUMER_AGE", "1s"),
            ("STREAM__HEARTBEAT", "1m"),
            ("STREAM__SEND_BUFFER", "16KiB"),
            ("LIMITS__RING_BYTES", "64MiB"),
        ],
    );
    block_on(async {
        let stalled = Open::connect(node.public, kind, &certificates, 1).await;
        gauge(&node, "it is open", 1.0, PATIENCE).await;
        let data = "x".repeat(60 * 1_024);
        // More than loopback's buffers hold.
        for _ in 0..256 {
            publish(&node, &certificates, &data).await;
        }
        gauge(&node, "it is gone", 0.0, PATIENCE).await;
        stalled.close().await;
    });
    let slow = "sluice_connections_closed_total{reason=\"slow_consumer\"}";
    assert_eq!(node.metric(slow), 1.0);
}

/// Handshakes that fall silent, at whatever byte, end in time, and however many there are, others get theirs.
#[test]
fn silent_handshakes_end_in_time_and_hold_up_nobody() {
    // More than actix-tls lets shake hands at once.
    const COUNT: usize = 300;
    let certificates = Certificates::made();
    let node = node(&certificates, &[("HTTP__HEAD_TIMEOUT", "6s")]);
    // The beginning of a ClientHello: handshake, TLS 1.0 on the record, 512 bytes to come.
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
    let mut silent: Vec<TcpStream> = (0..COUNT)
        .map(|number| {
            let mut socket = connect(node.public).expect("connected");
            socket
                .write_all(&hello[..number % hello.len()])
                .expect("sent");
            socket
        })
        .collect();
    block_on(async {
        let open = Open::connect(node.public, Kind::TlsHttp2, &certificates, 1).await;
        gauge(&node, "it has its stream", 1.0, PATIENCE).await;
        let none = node.metric(SLOW_HANDSHAKE);
        assert_eq!(none, 0.0, "the silent ones are all there");
        sample(&node, SLOW_HANDSHAKE, "all end", COUNT as f64, PATIENCE).await;
        gauge(&node, "the other stays", 1.0, PATIENCE).await;
        open.close().await;
    });
    for socket in &mut silent {
        let end = socket.read(&mut [0; 16]);
        let reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(end.as_ref().is_ok_and(|count| *count == 0) || end.as_ref().is_err_and(reset));
    }
}

/// Who has shaken hands and then says nothing, or begins and does not go on, is ended in the time for a head, and counted
/// for what it did; half a head of HTTP/1.1 is answered.
#[rstest]
#[case::silent_http1(b"http/1.1", b"", SILENT, b"")]
#[case::silent_http2(b"h2", b"", SILENT, b"")]
#[case::half_a_head(b"http/1.1", b"GET / HT", TOO_LATE, b"HTTP/1.1 408 ")]
#[case::half_a_preface(b"h2", b"PRI * HTTP/2.0\r\n", TOO_LATE, b"")]
#[case::no_settings(b"h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", TOO_LATE, b"")]
fn silence_after_a_handshake_is_ended_and_counted(
    #[case] alpn: &[u8],
    #[case] sent: &[u8],
    #[case] cause: &str,
    #[case] told: &[u8],
) {
    let certificates = Certificates::made();
    let node = node(&certificates, &[("HTTP__HEAD_TIMEOUT", "1s")]);
    block_on(async {
        let client = certificates.client(&[alpn], rustls::ALL_VERSIONS);
        let mut io = handshake(node.public, client).await.expect("a handshake");
        let since = Instant::now();
        io.write_all(sent).await.expect("sent");
        let mut bytes = Vec::new();
        if let Err(error) = io.read_to_end(&mut bytes).await {
            // The end comes without TLS's own farewell.
            let kind = error.kind();
            let ends = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
            assert!(ends.contains(&kind), "{error}");
        }
        let took = since.elapsed();
        assert!(took > SOON / 4 && took < SOON * 2, "{took:?}");
        assert!(bytes.starts_with(told), "{bytes:?}");
        assert!(alpn == b"h2" || told.is_empty() == bytes.is_empty());
        // HTTP/2 says farewell: a frame of type GOAWAY with its eight bytes.
        let goaway = [0, 0, 8, 7, 0];
        let says_so = bytes.windows(5).any(|frame| frame == goaway);
        assert_eq!(says_so, alpn == b"h2", "{bytes:?}");
    });
    for (sample, wanted) in [(SILENT, cause == SILENT), (TOO_LATE, cause == TOO_LATE)] {
        assert_eq!(node.metric(sample), f64::from(u8::from(wanted)), "{sample}");
    }
    assert_eq!(node.metric(SLOW_HANDSHAKE), 0.0);
}

/// Who speaks plain HTTP, or a version of TLS that is no longer safe, is turned away and counted.
#[test]
fn what_is_no_good_tls_is_turned_away() {
    let certificates = Certificates::made();
    let node = node(&certificates, &[]);
    let mut plain = connect(node.public).expect("connected");
    plain
        .write_all(&request("GET", "/v1/events?channel=a", &[], b""))
        .expect("sent");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    assert!(!answer.starts_with(b"HTTP/"), "no answer without TLS");
    wait("it is counted", &1.0, SOON, || node.metric(NO_HANDSHAKE));
    let old = Command::new("curl")
        .args([
            "--silent",
            "--insecure",
            "--max-time",
            "5",
            "--tls-max",
            "1.1",
        ])
        .args(["--ciphers", "DEFAULT@SECLEVEL=0"])
        .arg(format!("https://{}/", node.public))
        .status()
        .expect("curl is installed");
    // 35: no common version.
    assert_eq!(old.code(), Some(35));
    wait("it is counted too", &2.0, SOON, || {
        node.metric(NO_HANDSHAKE)
    });
}

/// A certificate that cannot be used stops the start and `--check-config`, with words.
#[test]
fn a_start_with_a_bad_certificate_is_refused() {
    let certificates = Certificates::made();
    let other = Certificates::made();
    let cases = [
        (
            certificates.path("cert.pem"),
            certificates.path("key.pem"),
            0,
            "ok",
        ),
        (
            certificates.path("cert.pem"),
            other.path("key.pem"),
            64,
            "does not belong to the certificate",
        ),
        (
            certificates.path("none.pem"),
            certificates.path("key.pem"),
            64,
            "none.pem: cannot be read",
        ),
        (
            certificates.path("cert.pem"),
            String::new(),
            64,
            "tls.key_file (SLUICE__TLS__KEY_FILE): must be set too",
        ),
    ];
    for (certificate, key, code, words) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice-gateway"))
            .env_clear()
            .arg("--dev")
            .arg("--check-config")
            .env("SLUICE__TLS__CERTIFICATE_FILE", &certificate)
            .env("SLUICE__TLS__KEY_FILE", &key)
            .output()
            .expect("the binary");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("UTF-8");
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words), "{text}");
    }
}
