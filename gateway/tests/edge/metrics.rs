//! What a scrape shows of a whole node: a form that Prometheus takes, and figures that move with what happens.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::http::{Answer, Events, call};
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::{PATIENCE, find, wait};

fn scrape(admin: std::net::SocketAddr, accept: &str) -> Answer {
    call(admin, "GET", "/metrics", &[("Accept", accept)], b"")
}

/// Whether promtool takes a scrape, and what it says.
fn promtool(scrape: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (scripts/setup prometheus)");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(scrape.as_bytes()).expect("taken");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// Classic text, whatever the scraper would take besides, and nothing in it that promtool minds.
#[test]
fn promtool_takes_the_scrape_of_a_real_node() {
    let process = Process::start(&[]);
    let mut stream = Events::open(process.public, "/v1/events?channel=a", &[]);
    assert_eq!(stream.next().event, "sluice.open");
    let target = "/v1/channels/a/events";
    assert_eq!(call(process.public, "POST", target, &[], b"x").status, 201);
    assert_eq!(stream.next().data, "x");
    for accept in [
        "*/*",
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    ] {
        let answer = scrape(process.admin, accept);
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(kind))
        );
        let (taken, said) = promtool(&answer.body);
        assert!(taken && said.is_empty(), "{said}");
        // It would mind.
        let (taken, said) = promtool(&format!(
            "{}# TYPE sluice_x counter\nsluice_x 1\n",
            answer.body
        ));
        assert!(!taken && said.contains("sluice_x"), "{said}");
    }
    let memory = [
        "sluice_memory_allocated_bytes",
        "sluice_memory_resident_bytes",
    ];
    let [allocated, resident] = memory.map(|name| process.metric(name));
    assert!(
        allocated > 1e6 && resident >= allocated,
        "{allocated} of {resident}"
    );
    for thread in ["worker", "broker", "admin", "main"] {
        let of =
            |name: &str| process.metric(&format!("sluice_runtime_{name}{{thread=\"{thread}\"}}"));
        assert_eq!(of("threads"), 1.0, "{thread}");
        assert!(of("busy_seconds_total") > 0.0, "{thread}");
    }
}

/// Each thread tells how late it is: a little as a rule, and by how long it was stopped when it was.
#[test]
fn threads_that_are_held_up_are_late() {
    const STOPPED: Duration = Duration::from_secs(2);
    const THREADS: [&str; 4] = ["worker", "broker", "admin", "main"];
    let process = Process::start(&[]);
    let told = |thread: &str, end: &str| {
        process.metric(&format!(
            "sluice_runtime_lag_seconds_{end}thread=\"{thread}\"{}",
            if end.contains("bucket") {
                ",le=\"0.25\"}"
            } else {
                "}"
            }
        ))
    };
    let counts = |thread: &str| (told(thread, "count{"), told(thread, "bucket{"));
    for thread in THREADS {
        find("it has been measured for a second", PATIENCE, || {
            (counts(thread).0 >= 10.0).then_some(())
        });
        let (all, small) = counts(thread);
        assert!(small > all / 2.0, "{thread}: {small} of {all}");
    }
    let late = |thread: &str| {
        let (all, small) = counts(thread);
        all - small
    };
    let before = THREADS.map(late);
    process.freeze();
    std::thread::sleep(STOPPED);
    process.thaw();
    for (thread, before) in THREADS.into_iter().zip(before) {
        // 2 s, 1.9 s, and so on: what is left of them above a quarter of a second.
        find(thread, PATIENCE, || {
            (late(thread) >= before + 16.0).then_some(())
        });
    }
}

/// Memory that a node takes is seen.
#[test]
fn allocated_bytes_follow_what_is_kept() {
    let process = Process::start(&[]);
    let before = process.metric("sluice_memory_allocated_bytes");
    let data = vec![b'x'; 60_000];
    for _ in 0..200 {
        let answer = call(process.public, "POST", "/v1/channels/a/events", &[], &data);
        assert_eq!(answer.status, 201);
    }
    let grown = process.metric("sluice_memory_allocated_bytes") - before;
    assert!(grown > 10e6, "{grown}");
}

/// While a node leaves, it is not ready, and its window runs out.
#[test]
fn readiness_and_the_drain_window_are_told() {
    let settings = [("DRAIN__DEADLINE", "10s"), ("HTTP__WORKERS", "1")];
    let mut node = Node::embedded(&settings).ready();
    let told = |node: &Node| {
        [
            "sluice_ready",
            "sluice_draining",
            "sluice_drain_remaining_seconds",
        ]
        .map(|name| node.metric(name))
    };
    assert_eq!(told(&node), [1.0, 0.0, 0.0]);
    // So many that one of them stays for a while.
    let _streams: Vec<Events> = (0..12).map(|_| node.stream("channel=a", &[])).collect();
    node.leave();
    let first = find("it drains", PATIENCE, || {
        let [_, draining, left] = told(&node);
        (draining == 1.0).then_some(left)
    });
    // Read now: what was read before the look at the drain may be from before it.
    assert_eq!(node.metric("sluice_ready"), 0.0);
    assert!(first > 5.0 && first <= 10.0, "{first}");
    find("the window runs out", PATIENCE, || {
        (node.metric("sluice_drain_remaining_seconds") < first - 0.5).then_some(())
    });
}

/// Once per event and worker, however many streams there are.
#[test]
fn ring_lag_and_fan_out_are_measured_once_per_event() {
    let node = Node::embedded(&[]).ready();
    let mut streams: Vec<Events> = (0..3).map(|_| node.stream("channel=a", &[])).collect();
    for data in ["1", "2"] {
        node.publish("a", data);
    }
    for stream in &mut streams {
        assert_eq!(stream.data(2), ["1", "2"]);
    }
    for name in ["sluice_ring_lag_seconds", "sluice_fanout_duration_seconds"] {
        wait(name, &2.0, PATIENCE, || {
            node.metric(&format!("{name}_count"))
        });
    }
    let sum = |name: &str| node.metric(&format!("sluice_{name}_seconds_sum"));
    assert!(
        sum("fanout_duration") > sum("ring_lag"),
        "waking takes time"
    );
    assert_eq!(node.metric("sluice_delivery_latency_seconds_count"), 6.0);
}

/// What is written counts while a stream is open, not only at its end.
#[test]
fn bytes_count_as_they_are_written() {
    let node = Node::embedded(&[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    node.publish("a", &"x".repeat(5_000));
    assert_eq!(stream.next().data.len(), 5_000);
    find("the bytes are counted", PATIENCE, || {
        (node.metric("sluice_bytes_sent_total") > 5_000.0).then_some(())
    });
    assert_eq!(node.metric("sluice_connections"), 1.0);
}

/// A reader that stalls is behind, one that reads is not, and who has gone is forgotten.
#[test]
fn a_stalled_reader_makes_client_lag() {
    let node = Node::embedded(&[
        ("LIMITS__RING_BYTES", "128MiB"),
        ("STREAM__SLOW_CONSUMER_AGE", "10m"),
        ("STREAM__SEND_BUFFER", "16KiB"),
    ])
    .ready();
    let told =
        || ["sluice_client_lag_events", "sluice_clients_lagging"].map(|name| node.metric(name));
    let mut reads = node.stream("channel=a", &[]);
    let stalled = node.stream("channel=a", &[]);
    let data = "x".repeat(60_000);
    for _ in 0..400 {
        node.publish("a", &data);
        assert_eq!(reads.next().data.len(), data.len());
    }
    let [most, lagging] = find("it is behind", PATIENCE, || {
        let told = told();
        (told[1] > 0.0).then_some(told)
    });
    assert!(most > 100.0 && most < 400.0, "{most}");
    assert_eq!(lagging, 1.0);
    drop(stalled);
    wait("nobody is behind", &[0.0, 0.0], PATIENCE, told);
}

/// Limits are told as they were set, and their use follows what is there.
#[test]
fn the_use_of_limits_follows() {
    let node = Node::embedded(&[
        ("LIMITS__CONNECTIONS", "7"),
        ("LIMITS__EMBEDDED_CHANNELS", "9"),
        ("LIMITS__ATTEMPTS_PER_IP_PER_SECOND", "1"),
        ("LIMITS__ATTEMPTS_PER_IP_BURST", "1000"),
        ("LIMITS__IP_ENTRIES", "50"),
    ])
    .ready();
    let of = |what: &str, limit: &str| node.metric(&format!("sluice_{what}{{limit=\"{limit}\"}}"));
    let used = |limit: &str| of("limit_used", limit);
    for (limit, most) in [
        ("connections", 7.0),
        ("embedded_channels", 9.0),
        ("ip_entries", 50.0),
    ] {
        assert_eq!((of("limit", limit), used(limit)), (most, 0.0), "{limit}");
    }
    assert_eq!(of("limit", "redis_pool"), 0.0, "there is none");
    let streams: Vec<Events> = (0..3).map(|_| node.stream("channel=a", &[])).collect();
    node.publish("b", "x");
    assert_eq!((used("connections"), used("ip_entries")), (3.0, 1.0));
    assert!(used("sockets") >= 3.0 && of("limit", "sockets") >= 7.0);
    find("channels are counted", PATIENCE, || {
        (used("embedded_channels") >= 1.0).then_some(())
    });
    drop(streams);
    let there = || [used("connections"), used("sockets")];
    wait("all is free again", &[0.0, 0.0], PATIENCE, there);
}
