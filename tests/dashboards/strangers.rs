//! Clients that connect and do not ask.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Far longer than a node bears one.
const PATIENCE: Duration = Duration::from_secs(20);

/// All that a node answers to `bytes`, until it closes the connection.
pub async fn answer_to(addr: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut socket = TcpStream::connect(addr).await?;
    socket.write_all(bytes).await?;
    let mut answer = String::new();
    let read = timeout(PATIENCE, socket.read_to_string(&mut answer)).await;
    read.context("the node does not close the connection")??;
    Ok(answer)
}
