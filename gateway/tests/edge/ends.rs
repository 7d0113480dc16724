//! Connections that end: closed, reset or fallen silent, with HTTP/1.1 and HTTP/2, with and without TLS. Their streams are
//! freed at once, with no event and no heartbeat to find out by.

use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rstest::rstest;
use socket2::{SockFilter, SockRef};

use crate::clients::{Certificates, Kind, Open, block_on, gauge};
use crate::harness::PATIENCE;
use crate::harness::node::Node;

/// A FIN or RST is seen within half a second; the rest is for a busy machine. Any heartbeat comes much later.
const AT_ONCE: Duration = Duration::from_secs(3);
const STREAMS: usize = 5;

fn node(certificates: &Certificates, kind: Kind, settings: &[(&str, &str)]) -> Node {
    let files = certificates.settings();
    let tls: Vec<(&str, &str)> = files
        .iter()
        .map(|(key, file)| (*key, file.as_str()))
        .collect();
    let tls = if kind.has_tls() { &*tls } else { &[] };
    Node::embedded(&[&[("STREAM__HEARTBEAT", "1m")], tls, settings].concat()).ready()
}

/// Takes nothing from the network any more, not even to refuse it.
fn fall_silent(socket: &TcpStream) {
    const BPF_RET: u16 = 0x06;
    let drop_all = SockFilter::new(BPF_RET, 0, 0, 0);
    SockRef::from(socket)
        .attach_filter(&[drop_all])
        .expect("a filter");
}

#[derive(Clone, Copy)]
enum Fault {
    /// The client's half is closed, with no word of TLS or HTTP/2 before.
    Fin,
    /// The connection is reset.
    Reset,
}

#[rstest]
fn streams_go_with_their_connection(
    #[values(Kind::Http1, Kind::Http2, Kind::TlsHttp1, Kind::TlsHttp2)] kind: Kind,
    #[values(Fault::Fin, Fault::Reset)] fault: Fault,
) {
    let certificates = Certificates::made();
    let node = node(&certificates, kind, &[]);
    block_on(async {
        let streams = if kind.is_http2() { STREAMS } else { 1 };
        let lost = Open::connect(node.public, kind, &certificates, streams).await;
        let kept = Open::connect(node.public, kind, &certificates, 1).await;
        gauge(&node, "all are open", (streams + 1) as f64, PATIENCE).await;
        match fault {
            Fault::Fin => lost.socket.shutdown(Shutdown::Write).expect("closed"),
            Fault::Reset => {
                SockRef::from(&lost.socket)
                    .set_linger(Some(Duration::ZERO))
                    .expect("set");
                lost.close().await;
            }
        }
        gauge(&node, "only the other is left", 1.0, AT_ONCE).await;
        kept.close().await;
    });
}

/// A peer that is gone without a word (its packets are dropped, ours are answered by nobody) is found out by
/// `stream.user_timeout`, though nothing is sent to it; its neighbours stay.
#[rstest]
fn streams_of_a_peer_that_falls_silent_are_freed(
    #[values(Kind::Http1, Kind::Http2, Kind::TlsHttp1, Kind::TlsHttp2)] kind: Kind,
) {
    let certificates = Certificates::made();
    let node = node(&certificates, kind, &[("STREAM__USER_TIMEOUT", "2s")]);
    block_on(async {
        let streams = if kind.is_http2() { STREAMS } else { 1 };
        let lost = Open::connect(node.public, kind, &certificates, streams).await;
        let kept = Open::connect(node.public, kind, &certificates, 1).await;
        gauge(&node, "all are open", (streams + 1) as f64, PATIENCE).await;
        fall_silent(&lost.socket);
        gauge(&node, "only the other is left", 1.0, PATIENCE).await;
        kept.close().await;
    });
}

/// The same when there are bytes on their way: they are not acknowledged.
#[rstest]
fn a_silent_peer_with_bytes_on_their_way_is_found_out(
    #[values(Kind::Http1, Kind::TlsHttp2)] kind: Kind,
) {
    let certificates = Certificates::made();
    let settings = [
        ("STREAM__USER_TIMEOUT", "1s"),
        ("STREAM__HEARTBEAT", "200ms"),
    ];
    let node = node(&certificates, kind, &settings);
    block_on(async {
        let lost = Open::connect(node.public, kind, &certificates, 1).await;
        gauge(&node, "it is open", 1.0, PATIENCE).await;
        fall_silent(&lost.socket);
        gauge(&node, "it is gone", 0.0, PATIENCE).await;
        lost.close().await;
    });
}
