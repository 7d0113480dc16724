//! What actix-web does when used plainly, and what a node must not do: each test fails without its mend.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::harness::http::{Events, connect, request};
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::{PATIENCE, find, wait};

const CONNECTIONS: &str = "sluice_connections";
/// A FIN is seen within half a second; the rest is for a busy machine. Any heartbeat comes much later.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Pipelining into one's own open stream until the read buffer is full costs the node no CPU, and the client's
/// place is free again.
#[test]
fn a_client_that_pipelines_into_its_stream_cannot_spin_a_worker() {
    let node = Process::start(&[]);
    let stream = Events::open(node.public, "/v1/events?channel=a", &[]);
    wait("the stream is open", &1.0, PATIENCE, || {
        node.metric(CONNECTIONS)
    });
    pipeline(&stream.socket);
    let (cpu, since) = (node.cpu(), Instant::now());
    find("a second has passed", PATIENCE, || {
        (since.elapsed() > Duration::from_secs(1)).then_some(())
    });
    let spent = node.cpu().saturating_sub(cpu);
    assert!(
        spent < since.elapsed() / 3,
        "{spent:?} of CPU in {:?}",
        since.elapsed()
    );
    drop(stream);
    wait("the stream is gone", &0.0, AT_ONCE, || {
        node.metric(CONNECTIONS)
    });
}

const FAST_EVENTS: usize = 6_000;

/// A reader that gets thousands of events one by one is no spinning one: all arrive on its one stream.
#[test]
fn a_fast_reader_is_not_taken_for_a_spinning_one() {
    let node = Node::embedded(&[]).ready();
    let mut reader = node.stream("channel=a", &[]);
    let public = node.public;
    let publisher = std::thread::spawn(move || {
        let mut socket = connect(public).expect("connected");
        let publish = request("POST", "/v1/channels/a/events", &[], b"x");
        for _ in 0..FAST_EVENTS {
            socket.write_all(&publish).expect("sent");
            let mut answer = [0; 4_096];
            let count = socket.read(&mut answer).expect("an answer");
            assert!(answer[..count].starts_with(b"HTTP/1.1 201 "));
        }
    });
    for _ in 0..FAST_EVENTS {
        assert_eq!(reader.next().data, "x");
    }
    publisher.join().expect("published");
    assert_eq!(node.metric("sluice_connections_opened_total"), 1.0);
}

/// Sends requests until nobody takes them any more.
fn pipeline(mut socket: &TcpStream) {
    let requests = request("GET", "/v1/events?channel=a", &[], b"").repeat(200);
    let bounded = 64 * 1_024 * 1_024 / requests.len();
    socket
        .set_write_timeout(Some(Duration::from_millis(200)))
        .expect("a valid wait");
    for _ in 0..bounded {
        if let Err(error) = socket.write_all(&requests) {
            let full = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            let cut = matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            );
            assert!(full || cut, "{error}");
            return;
        }
    }
    panic!("the node takes requests without end");
}

/// A FIN is a disconnect: nobody waits for an event or a heartbeat to notice it.
#[test]
fn a_client_that_closes_its_half_is_gone_at_once() {
    let node = Node::embedded(&[("STREAM__HEARTBEAT", "1m")]).ready();
    let stream = node.stream("channel=a", &[]);
    assert_eq!(node.metric(CONNECTIONS), 1.0);
    stream.finish();
    wait("the stream is gone", &0.0, AT_ONCE, || {
        node.metric(CONNECTIONS)
    });
    assert_eq!(
        node.metric("sluice_connections_closed_total{reason=\"client_gone\"}"),
        1.0
    );
}

const EVENT_BYTES: usize = 32 * 1_024;
const EVENTS: usize = 128;
/// Far below what is published, far above the send buffer, the client's and one write of the gateway.
const HELD_BYTES: usize = EVENTS * EVENT_BYTES / 4;

/// A reader that never reads is closed from the fan-out side, having held no more than its send buffer; nobody
/// else waits for it.
#[test]
fn a_stalled_reader_is_closed_and_disturbs_nobody() {
    let node = Node::embedded(&[
        ("STREAM__SLOW_CONSUMER_AGE", "1s"),
        ("STREAM__SEND_BUFFER", "16KiB"),
        // So that its age is what it falls by.
        ("LIMITS__RING_BYTES", "16MiB"),
    ])
    .ready();
    let mut stalled = stalled_reader(node.public);
    wait("its stream is open", &1.0, PATIENCE, || {
        node.metric(CONNECTIONS)
    });
    let mut reader = node.stream("channel=a", &[]);
    let data = "x".repeat(EVENT_BYTES);
    for _ in 0..EVENTS {
        node.publish("a", &data);
        assert_eq!(reader.next().data.len(), EVENT_BYTES);
    }
    let slow = "sluice_connections_closed_total{reason=\"slow_consumer\"}";
    // A second of age, at most one more until its turn to be looked at, one until it is cut.
    wait(
        "the stalled one is closed",
        &1.0,
        Duration::from_secs(6),
        || node.metric(slow),
    );
    node.publish("a", "after");
    assert_eq!(reader.next().data, "after");
    assert_eq!(node.metric(CONNECTIONS), 1.0);
    let mut held = Vec::new();
    // Its end is a FIN or a reset, whichever the kernel comes to first; the connection is not left standing.
    if let Err(error) = stalled.read_to_end(&mut held) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    assert!(!held.is_empty());
    assert!(
        held.len() < HELD_BYTES,
        "{} bytes were held for it",
        held.len()
    );
}

/// Asks for a stream through a small window and never reads.
fn stalled_reader(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(8_192).expect("a small window");
    socket.connect(&address.into()).expect("connected");
    let mut socket = TcpStream::from(socket);
    socket
        .write_all(&request("GET", "/v1/events?channel=a", &[], b""))
        .expect("sent");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a valid wait");
    socket
}

/// Idle connections are bounded by the node's own limit, not by the 25,000 per worker that actix-web allows.
#[test]
fn connections_without_a_stream_are_bounded_by_the_nodes_limit() {
    const ROOM: usize = 4 + 1_024;
    // A silent socket may stay for as long as a busy machine takes to open all.
    let node = Node::embedded(&[("LIMITS__CONNECTIONS", "4"), ("HTTP__HEAD_TIMEOUT", "1m")]);
    let node = node.ready();
    let ask = |socket: &mut TcpStream| {
        socket
            .write_all(&request("GET", "/nothing", &[], b""))
            .expect("sent");
    };
    let mut idle: Vec<TcpStream> = (0..ROOM)
        .map(|_| connect(node.public).expect("connected"))
        .collect();
    // Each is answered and stays open, so all of them are accepted.
    idle.iter_mut().for_each(ask);
    for socket in &mut idle {
        assert!(socket.read(&mut [0; 4_096]).expect("an answer") > 0);
    }
    // One that is over waits in the kernel's queue until another leaves. (The acceptor stops a little late.)
    let mut late = connect(node.public).expect("queued");
    ask(&mut late);
    late.set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a valid wait");
    let refused = late.read(&mut [0; 4_096]).expect_err("nobody answers yet");
    assert!(matches!(
        refused.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    drop(idle);
    late.set_read_timeout(Some(PATIENCE)).expect("a valid wait");
    assert!(late.read(&mut [0; 4_096]).expect("an answer") > 0);
}

const DRAINED: usize = 500;
const LEAD: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_secs(1);

/// SIGTERM: readiness falls, then every stream is told `drain` at a moment of its own in the window, and the
/// process ends without waiting for anything else.
#[test]
fn open_streams_are_drained_over_the_window_and_the_process_ends() {
    let mut node = Process::start(&[
        ("DRAIN__READINESS_LEAD", "500ms"),
        ("DRAIN__DEADLINE", "1500ms"),
    ]);
    let (public, admin) = (node.public, node.admin);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let mut streams = JoinSet::new();
    runtime.block_on(async {
        for _ in 0..DRAINED {
            let mut socket = tokio::net::TcpStream::connect(public)
                .await
                .expect("connected");
            let ask = request("GET", "/v1/events?channel=a", &[], b"");
            socket.write_all(&ask).await.expect("sent");
            streams.spawn(read_to_last_chunk(socket));
        }
    });
    wait("all are open", &(DRAINED as f64), PATIENCE, || {
        node.metric(CONNECTIONS)
    });
    node.terminate();
    let (fell, ends) = runtime.block_on(async {
        let fell = tokio::task::spawn_blocking(move || {
            find("readiness falls", PATIENCE, || {
                let answer = crate::harness::http::try_call(admin, "GET", "/readyz", &[], b"")?;
                (answer.status == 503).then(Instant::now)
            })
        });
        let ends = streams.join_all().await;
        (fell.await.expect("it falls"), ends)
    });
    let status = node.exit(Duration::from_secs(4));
    assert!(status.success(), "{status}");
    assert_eq!(ends.len(), DRAINED);
    check_spread(
        fell,
        ends.into_iter()
            .map(|(at, text)| (at, last_block(&text)))
            .collect(),
    );
}

async fn read_to_last_chunk(mut socket: tokio::net::TcpStream) -> (Instant, String) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"0\r\n\r\n") {
        let count = tokio::time::timeout(PATIENCE, socket.read_buf(&mut bytes)).await;
        let count = count.expect("an end in time").expect("no reset");
        assert!(count > 0, "closed without the last chunk");
    }
    let now = Instant::now();
    (now, String::from_utf8(bytes).expect("UTF-8"))
}

fn last_block(text: &str) -> String {
    let (_, last) = text
        .split_once("event: sluice.open\n")
        .expect("it was opened");
    last.to_owned()
}

fn check_spread(fell: Instant, mut ends: Vec<(Instant, String)>) {
    for (_, last) in &ends {
        assert!(last.contains("event: sluice.close\n"), "{last}");
        assert!(last.contains("data: {\"reason\":\"drain\"}\n"), "{last}");
        let close = last.split_once("retry: ").expect("a wait").1;
        let retry: u64 = close
            .split('\n')
            .next()
            .expect("a line")
            .parse()
            .expect("ms");
        assert!((200..=2_000).contains(&retry), "{retry}");
        assert!(last.matches("id: ").count() >= 1, "{last}");
    }
    ends.sort_by_key(|(at, _)| *at);
    let first = ends[0].0;
    // Readiness was seen to fall some time into the lead, not before it began.
    assert!(first > fell, "a stream ended before readiness fell");
    let spread = ends[DRAINED - 1].0 - first;
    assert!(
        spread > WINDOW / 2 && spread < WINDOW + LEAD * 2,
        "{spread:?}"
    );
    for quarter in 0..4 {
        let from = first + spread / 4 * quarter;
        let to = from + spread / 4;
        let some = ends
            .iter()
            .filter(|(at, _)| (from..=to).contains(at))
            .count();
        assert!(
            some > DRAINED / 20,
            "{some} ended in quarter {quarter} of {spread:?}"
        );
    }
}
