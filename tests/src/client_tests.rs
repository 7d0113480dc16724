//! The client against servers that say exactly what a test tells them to.

use tokio::net::TcpListener;

use super::*;
use crate::wait;

const SOON: Duration = Duration::from_secs(5);
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n";

/// A server that answers each connection with the next of `answers` and closes; gives back what it was asked.
async fn server(answers: Vec<String>) -> Result<(SocketAddr, JoinSet<Result<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await?;
            let mut request = vec![0; 4096];
            let count = socket.read(&mut request).await?;
            asked.push(String::from_utf8_lossy(&request[..count]).into_owned());
            socket.write_all(answer.as_bytes()).await?;
        }
        Ok(asked)
    });
    Ok((addr, task))
}

/// What the server was asked, once it has given all its answers.
async fn asked(task: &mut JoinSet<Result<Vec<String>>>) -> Result<Vec<String>> {
    timeout(SOON, task.join_next())
        .await?
        .context("no server")??
}

fn options(addr: SocketAddr) -> Options {
    Options {
        retry_cap: Duration::ZERO,
        ..Options::new(&["a"], &[addr], 0)
    }
}

#[tokio::test]
async fn it_resumes_with_the_id_of_the_last_whole_block() -> Result<()> {
    let first = format!("{HEAD}id: 1\ndata: x\n\n:\nid: 2\ndata: cut");
    let (addr, mut task) = server(vec![
        first,
        format!("{HEAD}id: 3\ndata: y\n\n"),
        String::new(),
    ])
    .await?;
    let client = Client::start("c", options(addr));
    let asked = asked(&mut task).await?;
    assert!(
        asked[0].starts_with("GET /v1/events?channel=a HTTP/1.1\r\n"),
        "{}",
        asked[0]
    );
    assert!(!asked[0].contains("Last-Event-ID"));
    assert!(
        asked[1].contains("\r\nLast-Event-ID: 1\r\n"),
        "{}",
        asked[1]
    );
    assert!(
        asked[2].contains("\r\nLast-Event-ID: 3\r\n"),
        "{}",
        asked[2]
    );
    let log = client.log();
    let data: Vec<&str> = log.events().map(|block| block.data.as_str()).collect();
    assert_eq!((data, log.heartbeats), (vec!["x", "y"], 1));
    Ok(())
}

#[tokio::test]
async fn it_gives_up_for_ever_on_a_status_other_than_200() -> Result<()> {
    let (addr, mut task) = server(vec![
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".into(),
    ])
    .await?;
    let mut client = Client::start("c", options(addr));
    asked(&mut task).await?;
    timeout(SOON, client._session.join_next()).await?;
    assert!(matches!(
        client.log().seen.last(),
        Some((_, Seen::Refused(503)))
    ));
    Ok(())
}

#[tokio::test]
async fn broken_framing_is_a_broken_connection_and_told() -> Result<()> {
    let bad = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let (addr, mut task) = server(vec![bad.into(), String::new()]).await?;
    let client = Client::start("c", options(addr));
    asked(&mut task).await?;
    let broken = client
        .log()
        .seen
        .iter()
        .any(|(_, seen)| matches!(seen.ended(), Some(End::Broken(_))));
    assert!(broken);
    Ok(())
}

#[tokio::test]
async fn a_stalled_client_leaves_the_bytes_in_the_kernel_until_it_reads_on() -> Result<()> {
    let (addr, mut task) = server(vec![format!("{HEAD}id: 1\ndata: x\n\n")]).await?;
    let client = Client::start("c", options(addr));
    client.stall(true);
    asked(&mut task).await?;
    assert_eq!(client.log().events().count(), 0);
    client.stall(false);
    wait::until_true(SOON, "it reads on", || client.log().events().count() == 1).await
}

#[tokio::test]
async fn it_moves_to_the_node_it_is_told_to() -> Result<()> {
    let (there, mut task) = server(vec![format!("{HEAD}id: 2\ndata: y\n\n")]).await?;
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let mut options = options(there);
    options.nodes = vec![silent.local_addr()?, there];
    options.last_event_id = Some("1".into());
    let client = Client::start("c", options);
    let (_held, _) = silent.accept().await?;
    client.move_to(1).await?;
    let asked = asked(&mut task).await?;
    assert!(
        asked[0].contains("\r\nLast-Event-ID: 1\r\n"),
        "{}",
        asked[0]
    );
    wait::until_true(SOON, "the block came", || client.log().last_event_id == "2").await
}
