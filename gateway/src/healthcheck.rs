//! `--healthcheck`: asks a node that runs already whether its process is alive, as its image's and its supervisor's probe
//! does. Knows nothing of the node but its admin address, and waits no longer than [`PATIENCE`] in all.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest wait for an answer.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of the answer that are read: its first line says it all.
const ENOUGH: usize = 64;

/// Why the node is not taken for alive.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error("admin.bind has port 0, so nobody can tell where the node listens; give it a port")]
    NoPort,
    #[error("no node listens at {0} (admin.bind): {1}")]
    Nobody(SocketAddr, io::Error),
    #[error("the node at {0} did not answer /livez within {PATIENCE:?}")]
    Silent(SocketAddr),
    #[error("the connection to the node at {0} broke: {1}")]
    Broken(SocketAddr, io::Error),
    #[error("the node at {0} answered /livez with {1:?} instead of 200")]
    Answer(SocketAddr, String),
}

/// Asks `/livez` of the node whose admin listener is bound there.
///
/// # Errors
/// [`Unhealthy`].
pub fn ask(bind: SocketAddr) -> Result<(), Unhealthy> {
    let address = reachable(bind);
    if address.port() == 0 {
        return Err(Unhealthy::NoPort);
    }
    let end = Instant::now() + PATIENCE;
    let broken = |error: io::Error| {
        if is_late(&error) {
            Unhealthy::Silent(address)
        } else {
            Unhealthy::Broken(address, error)
        }
    };
    let nobody = |error: io::Error| {
        if is_late(&error) {
            Unhealthy::Silent(address)
        } else {
            Unhealthy::Nobody(address, error)
        }
    };
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).map_err(nobody)?;
    let request = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket
        .set_write_timeout(Some(left(end, address)?))
        .map_err(broken)?;
    socket.write_all(request.as_bytes()).map_err(broken)?;
    let mut answer = Vec::new();
    while answer.len() < ENOUGH && !answer.contains(&b'\n') {
        socket
            .set_read_timeout(Some(left(end, address)?))
            .map_err(broken)?;
        let mut some = [0; ENOUGH];
        match socket.read(&mut some).map_err(broken)? {
            0 => break,
            count => answer.extend_from_slice(some.get(..count).unwrap_or_default()),
        }
    }
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    if line.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    let line = String::from_utf8_lossy(line.get(..ENOUGH).unwrap_or(line)).into_owned();
    Err(Unhealthy::Answer(address, line))
}

/// Linux tells a timeout of a read or write as the first, one of a connect as the second.
fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn left(end: Instant, address: SocketAddr) -> Result<Duration, Unhealthy> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(Unhealthy::Silent(address))
    } else {
        Ok(left)
    }
}

/// The address itself; where it stands for all of the machine's, the machine's own.
#[must_use]
pub fn reachable(bind: SocketAddr) -> SocketAddr {
    let mut address = bind;
    if bind.ip().is_unspecified() {
        address.set_ip(match bind.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0.0.0.0:9090", "127.0.0.1:9090")]
    #[case("[::]:9090", "[::1]:9090")]
    #[case("10.1.2.3:9090", "10.1.2.3:9090")]
    fn a_listener_on_all_addresses_is_asked_on_loopback(#[case] bind: &str, #[case] asked: &str) {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(reachable(address(bind)), address(asked));
    }
}
