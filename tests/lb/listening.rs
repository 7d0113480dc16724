//! Which process still accepts connections, by what the kernel says.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result};

/// A listening socket's state in /proc/net/tcp.
const LISTEN: &str = "0A";

/// Whether `pid` has a socket that listens on `addr`, an IPv4 one; a process that is gone has none.
pub fn listens(pid: u32, addr: SocketAddr) -> Result<bool> {
    let sockets = listening(addr)?;
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Ok(false);
    };
    let mut open = open
        .flatten()
        .filter_map(|one| fs::read_link(one.path()).ok());
    Ok(open.any(|link| sockets.contains(&link.display().to_string())))
}

/// The sockets that listen on `addr`, as they are named among a process's descriptors.
fn listening(addr: SocketAddr) -> Result<BTreeSet<String>> {
    let IpAddr::V4(ip) = addr.ip() else {
        return Ok(BTreeSet::new());
    };
    // The kernel prints the address as one number in the machine's own order of bytes.
    let local = format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(ip.octets()),
        addr.port()
    );
    let mut sockets = BTreeSet::new();
    for line in fs::read_to_string("/proc/net/tcp")?.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = fields.get(9).context("a short line in /proc/net/tcp")?;
        if fields[1] == local && fields[3] == LISTEN {
            sockets.insert(format!("socket:[{inode}]"));
        }
    }
    Ok(sockets)
}

#[tokio::test]
async fn a_socket_that_listens_is_told_from_one_that_does_not() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (addr, me) = (listener.local_addr()?, std::process::id());
    assert!(listens(me, addr)?);
    assert!(!listens(1, addr)?);
    drop(listener);
    assert!(!listens(me, addr)?);
    Ok(())
}
