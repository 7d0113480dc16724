//! HTTP/2 without TLS: idle streams that nobody polls must end with their connection, and be counted.

use std::time::Duration;

use h2::RecvStream;
use http::StatusCode;

use crate::clients::{Connection, block_on, gauge};
use crate::harness::PATIENCE;
use crate::harness::node::Node;

const SOON: Duration = Duration::from_secs(3);

/// Fifty idle streams are gone with their TCP connection, with no event and no heartbeat to find out by.
#[test]
fn idle_streams_go_with_their_connection() {
    let node = Node::embedded(&[("STREAM__HEARTBEAT", "1m")]).ready();
    block_on(async {
        let mut connection = Connection::open(&node).await;
        let mut streams = Vec::new();
        for _ in 0..50 {
            streams.push(connection.stream().await);
        }
        gauge(&node, "all are open", 50.0, PATIENCE).await;
        connection.driver.shutdown().await;
        gauge(&node, "all are gone", 0.0, SOON).await;
        drop(streams);
    });
}

/// A client that leaves a stream's window shut is cut with its connection: nobody polls the stream's body to end it.
#[test]
fn a_stalled_stream_is_closed_with_its_connection() {
    let node = Node::embedded(&[
        ("STREAM__SLOW_CONSUMER_AGE", "1s"),
        ("STREAM__HEARTBEAT", "1m"),
    ])
    .ready();
    block_on(async {
        let mut connection = Connection::open(&node).await;
        let stream = connection.stream().await;
        gauge(&node, "it is open", 1.0, PATIENCE).await;
        // Twice the window that a stream begins with (RFC 9113, 6.9.2), then one that is due.
        let (public, data) = (node.public, "x".repeat(32 * 1_024));
        let published = tokio::task::spawn_blocking(move || {
            for _ in 0..8 {
                let target = "/v1/channels/a/events";
                let answer =
                    crate::harness::http::call(public, "POST", target, &[], data.as_bytes());
                assert_eq!(answer.status, 201, "{answer:?}");
            }
        });
        published.await.expect("published");
        gauge(&node, "it is gone", 0.0, SOON * 2).await;
        drop(stream);
    });
    let slow = "sluice_connections_closed_total{reason=\"slow_consumer\"}";
    assert_eq!(node.metric(slow), 1.0);
}

/// One reset stream of a living connection is freed at the next heartbeat; its neighbour stays.
#[test]
fn a_reset_stream_is_freed_by_the_next_heartbeat() {
    let node = Node::embedded(&[("STREAM__HEARTBEAT", "500ms")]).ready();
    block_on(async {
        let mut connection = Connection::open(&node).await;
        let kept = connection.stream().await;
        let reset = connection.stream().await;
        gauge(&node, "both are open", 2.0, PATIENCE).await;
        // Dropped, the client's half sends RST_STREAM(CANCEL).
        drop(reset);
        gauge(&node, "the reset one is gone", 1.0, SOON).await;
        gauge(&node, "the other stays", 1.0, SOON).await;
        drop(kept);
    });
}

/// One connection carries its number of streams and not one more, told the way each kind of caller survives; a
/// stream that ends makes room again.
#[test]
fn streams_of_one_connection_are_limited() {
    let node = Node::embedded(&[
        ("LIMITS__STREAMS_PER_CONNECTION", "3"),
        ("STREAM__HEARTBEAT", "500ms"),
    ])
    .ready();
    block_on(async {
        let mut connection = Connection::open(&node).await;
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(connection.stream().await);
        }
        let refused = connection
            .ask("text/event-stream")
            .await
            .await
            .expect("an answer");
        assert_eq!(refused.status(), StatusCode::OK);
        let text = whole(refused.into_body()).await;
        assert!(text.contains("data: {\"reason\":\"limit\"}\n"), "{text}");
        assert!(text.starts_with("retry: "), "{text}");
        let refused = connection.ask("*/*").await.await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key("retry-after"));
        // Another connection has room of its own.
        let mut other = Connection::open(&node).await;
        let elsewhere = other.stream().await;
        drop(streams.pop());
        gauge(&node, "one is gone", 3.0, SOON).await;
        streams.push(connection.stream().await);
        drop(elsewhere);
    });
}

/// A waiting poll counts as a stream of its connection, and goes with it: nothing else would end it for a minute.
#[test]
fn waiting_polls_count_as_streams_and_go_with_their_connection() {
    let node = Node::embedded(&[("LIMITS__STREAMS_PER_CONNECTION", "2")]).ready();
    block_on(async {
        let (public, target) = (node.public, "/v1/channels/a/events");
        let publish = move || crate::harness::http::call(public, "POST", target, &[], b"x");
        let answer = tokio::task::spawn_blocking(publish).await.expect("sent");
        let place = crate::harness::node::id(&answer);
        let target = format!("/v1/poll?channel=a&timeout=60s&last_event_id={place}");
        let mut connection = Connection::open(&node).await;
        let first = connection.get(&target, &[]).await;
        let second = connection.get(&target, &[]).await;
        gauge(&node, "both wait", 2.0, PATIENCE).await;
        let refused = connection.get(&target, &[]).await.await.expect("told");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key("retry-after"));
        connection.driver.shutdown().await;
        gauge(&node, "both are gone", 0.0, SOON).await;
        drop((first, second));
    });
    let hits = "sluice_limit_hits_total{limit=\"streams_per_connection\"}";
    assert_eq!(node.metric(hits), 1.0);
}

/// Requests turned away for another reason do not use up the connection's streams.
#[test]
fn refused_requests_do_not_count_as_streams() {
    let node = Node::embedded(&[
        ("LIMITS__STREAMS_PER_CONNECTION", "3"),
        ("LIMITS__CONNECTIONS", "1"),
        ("STREAM__HEARTBEAT", "500ms"),
    ])
    .ready();
    block_on(async {
        let mut other = Connection::open(&node).await;
        let only = other.stream().await;
        let mut connection = Connection::open(&node).await;
        for _ in 0..5 {
            let refused = connection
                .ask("text/event-stream")
                .await
                .await
                .expect("an answer");
            let text = whole(refused.into_body()).await;
            assert!(text.contains("data: {\"reason\":\"overload\"}\n"), "{text}");
        }
        drop(only);
        gauge(&node, "there is room", 0.0, SOON).await;
        drop(connection.stream().await);
    });
}

async fn whole(mut body: RecvStream) -> String {
    let mut bytes = Vec::new();
    while let Some(some) = body.data().await {
        bytes.extend_from_slice(&some.expect("no error"));
    }
    String::from_utf8(bytes).expect("UTF-8")
}
