//! Options of accepted sockets: what the kernel does about peers that are dead, slow or far away.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use sluice_gateway::http::peer::{SocketOptions, set_options};
use socket2::SockRef;

use crate::harness::node::Node;
use crate::harness::{PATIENCE, find};

/// Every option is set, each to what is configured.
#[test]
fn an_accepted_socket_has_its_options() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound"));
        let (server, _) = listener.accept().expect("accepted");
        server.set_nonblocking(true).expect("set");
        let server = actix_web::rt::net::TcpStream::from_std(server).expect("a socket");
        let options = SocketOptions {
            send_buffer: 32 * 1_024,
            user_timeout: Duration::from_secs(12),
        };
        set_options(&server, options).expect("set");
        let socket = SockRef::from(&server);
        assert!(socket.tcp_nodelay().expect("readable"));
        // The kernel doubles what it is given (socket(7)).
        assert_eq!(socket.send_buffer_size().expect("readable"), 64 * 1_024);
        let user_timeout = socket.tcp_user_timeout().expect("readable");
        assert_eq!(user_timeout, Some(Duration::from_secs(12)));
        assert!(socket.keepalive().expect("readable"));
        let time = socket.tcp_keepalive_time().expect("readable");
        assert_eq!(time, Duration::from_secs(6));
        let interval = socket.tcp_keepalive_interval().expect("readable");
        assert_eq!(interval, Duration::from_secs(2));
        assert_eq!(socket.tcp_keepalive_retries().expect("readable"), 3);
        drop(client);
    });
}

/// A node really does that to the sockets it accepts: the kernel's keepalive timer runs, set to half of the user
/// timeout.
#[test]
fn a_dead_idle_peer_is_probed_for() {
    let node = Node::embedded(&[("STREAM__USER_TIMEOUT", "40s")]).ready();
    let stream = node.stream("channel=a", &[]);
    let client = stream.socket.local_addr().expect("bound");
    let ticks = find("the keepalive timer runs", PATIENCE, || {
        keepalive_ticks(node.public, client)
    });
    // In hundredths of a second, counting down.
    assert!((1..=2_000).contains(&ticks), "{ticks}");
}

/// What is left of the keepalive timer of the socket from `local` to `remote` (proc_net_tcp: `tr` is 2 for it).
fn keepalive_ticks(local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let hex = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.get(1..3)? != [hex(local), hex(remote)] {
            return None;
        }
        let (timer, when) = fields.get(5)?.split_once(':')?;
        (timer == "02").then_some(u32::from_str_radix(when, 16).expect("hexadecimal"))
    })
}
