//! Each fault of the proxy is seen to take effect on a real connection, and on a real redis-server's messages.

use tokio::{io::AsyncReadExt, time::timeout};

use super::*;
use crate::{lab::Lab, wait};

const SOON: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_millis(200);

/// A server that sends back what it gets.
async fn echo() -> Result<(SocketAddr, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            open.spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    Ok((addr, server))
}

async fn say(socket: &mut TcpStream, text: &str) -> io::Result<String> {
    socket.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    socket.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn bytes_pass_and_a_cut_resets_both_sides() -> Result<()> {
    let (addr, _server) = echo().await?;
    let proxy = Proxy::before(addr).await?;
    let mut socket = TcpStream::connect(proxy.addr()).await?;
    assert_eq!(say(&mut socket, "hello").await?, "hello");
    proxy.cut();
    let error = timeout(SOON, socket.read_u8())
        .await?
        .expect_err("it was cut");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(proxy.counts().cut, 1);
    Ok(())
}

#[tokio::test]
async fn a_blackhole_is_silent_and_its_connections_stay_broken_after_healing() -> Result<()> {
    let (addr, _server) = echo().await?;
    let proxy = Proxy::before(addr).await?;
    let mut old = TcpStream::connect(proxy.addr()).await?;
    assert_eq!(say(&mut old, "a").await?, "a");
    proxy.set(Mode::Blackhole);
    let mut new = TcpStream::connect(proxy.addr()).await?;
    for socket in [&mut old, &mut new] {
        assert!(
            timeout(A_WHILE, say(socket, "lost")).await.is_err(),
            "the blackhole answered"
        );
    }
    assert_eq!(proxy.counts().swallowed_bytes, 8);
    proxy.set(Mode::Pass);
    for socket in [&mut old, &mut new] {
        let answer = timeout(SOON, say(socket, "?")).await?;
        assert!(
            answer.is_err(),
            "a connection that lost bytes lives on: {answer:?}"
        );
    }
    let mut fresh = TcpStream::connect(proxy.addr()).await?;
    assert_eq!(say(&mut fresh, "b").await?, "b");
    Ok(())
}

#[tokio::test]
async fn refused_and_delayed_connections_are_counted() -> Result<()> {
    let (addr, _server) = echo().await?;
    let proxy = Proxy::before(addr).await?;
    let mut open = TcpStream::connect(proxy.addr()).await?;
    assert_eq!(say(&mut open, "a").await?, "a");
    proxy.set(Mode::Refuse);
    let mut refused = TcpStream::connect(proxy.addr()).await?;
    assert!(timeout(SOON, refused.read_u8()).await?.is_err());
    assert_eq!(say(&mut open, "b").await?, "b");
    proxy.set(Mode::Delay(A_WHILE));
    let begun = std::time::Instant::now();
    assert_eq!(say(&mut open, "c").await?, "c");
    assert!(begun.elapsed() >= 2 * A_WHILE);
    let counts = proxy.counts();
    assert_eq!((counts.refused, counts.delayed), (1, 2));
    Ok(())
}

#[tokio::test]
async fn a_byte_cut_passes_exactly_so_many_bytes() -> Result<()> {
    let (addr, _server) = echo().await?;
    let proxy = Proxy::before(addr).await?;
    let mut socket = TcpStream::connect(proxy.addr()).await?;
    assert_eq!(say(&mut socket, "abc").await?, "abc");
    proxy.cut_after(4);
    socket.write_all(b"0123456789").await?;
    let mut got = [0; 4];
    timeout(SOON, socket.read_exact(&mut got)).await??;
    assert_eq!(&got, b"0123");
    assert!(timeout(SOON, socket.read_u8()).await?.is_err());
    Ok(())
}

#[tokio::test]
async fn exactly_the_armed_messages_are_dropped() -> Result<()> {
    let lab = Lab::new()?;
    let redis = lab.redis().await?;
    let proxy = lab.proxy(&redis).await?;
    let mut pubsub = redis::Client::open(proxy.redis_url())?
        .get_async_pubsub()
        .await?;
    pubsub.subscribe(&["t", "other"]).await?;
    proxy.drop_messages("t", 1);
    for (topic, payload) in [("other", "1"), ("t", "2"), ("t", "3")] {
        let heard: u64 = redis.command(&["PUBLISH", topic, payload]).await?;
        assert_eq!(heard, 1);
    }
    let mut got = Vec::new();
    {
        let mut messages = pubsub.on_message();
        for _ in 0..2 {
            let message = timeout(SOON, futures_util::StreamExt::next(&mut messages)).await?;
            got.push(
                message
                    .expect("the connection lives")
                    .get_payload::<String>()?,
            );
        }
    }
    assert_eq!(got, ["1", "3"]);
    wait::until_true(SOON, "the drop is counted", || {
        proxy.counts().dropped_messages == 1
    })
    .await
}

#[tokio::test]
async fn new_connections_go_where_the_proxy_was_turned_and_open_ones_stay() -> Result<()> {
    let (addr, _server) = echo().await?;
    let proxy = Proxy::before(addr).await?;
    let mut old = TcpStream::connect(proxy.addr()).await?;
    assert_eq!(say(&mut old, "a").await?, "a");
    let elsewhere = TcpListener::bind("127.0.0.1:0").await?;
    proxy.turn_to(elsewhere.local_addr()?);
    let _new = TcpStream::connect(proxy.addr()).await?;
    timeout(SOON, elsewhere.accept()).await??;
    assert_eq!(say(&mut old, "b").await?, "b");
    Ok(())
}

#[tokio::test]
async fn byte_by_byte_a_waiting_reader_gets_single_bytes() -> Result<()> {
    let (addr, _server) = echo().await?;
    let proxy = Proxy::before(addr).await?;
    let mut socket = TcpStream::connect(proxy.addr()).await?;
    proxy.set(Mode::ByteByByte);
    socket.write_all("né".as_bytes()).await?;
    let mut got = Vec::new();
    while got.len() < 3 {
        let mut buffer = [0; 8];
        let count = timeout(SOON, socket.read(&mut buffer)).await??;
        got.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(got, "né".as_bytes());
    let counted = |proxy: &Proxy| (proxy.counts().lone_bytes, proxy.counts().to_client_bytes);
    wait::until_true(SOON, "all three are counted", || counted(&proxy) == (3, 3)).await?;
    Ok(())
}
