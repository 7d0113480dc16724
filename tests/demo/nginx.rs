//! deploy/lb/nginx before nodes that break off: what may be asked of another node is, and what may not is not.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    http,
    lab::{self, Weight},
    nginx, wait,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinSet,
};

use crate::play::{PATIENCE, free_ports};

/// A node that reads each request and then hangs up; it counts them.
async fn hang_up(listener: TcpListener, asked: Arc<AtomicUsize>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut request = [0; 4096];
        if socket.read(&mut request).await.is_ok_and(|count| count > 0) {
            asked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// nginx with the files of deploy/lb/nginx, on `port`, before `nodes`.
fn start(dir: &Path, port: u16, nodes: [SocketAddr; 3]) -> Result<Child> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lb/nginx");
    let mut conf = fs::read_to_string(from.join("sluice.conf"))?;
    conf = conf.replace("listen 8080;", &format!("listen 127.0.0.1:{port};"));
    for (at, node) in nodes.iter().enumerate() {
        let example = format!("server 127.0.0.1:{} ", 8081 + at);
        ensure!(conf.contains(&example), "sluice.conf has no {example}");
        conf = conf.replace(&example, &format!("server {node} "));
    }
    fs::write(dir.join("sluice.conf"), conf)?;
    fs::copy(
        from.join("sluice-locations.conf"),
        dir.join("sluice-locations.conf"),
    )?;
    let main = nginx::around(dir, nginx::ONE_PROCESS, "include sluice.conf;");
    fs::write(dir.join("nginx.conf"), main)?;
    Command::new("nginx")
        .arg("-e")
        .arg(dir.join("nginx.log"))
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting nginx: is it installed? `make setup` does it")
}

/// A publish that was sent is not sent again to another node; opening a stream is, and ends in a close, not in 502.
#[tokio::test]
async fn a_publish_is_never_sent_to_a_second_node_and_a_stream_is() {
    lab::run(Weight::Light, Duration::from_secs(20), async |lab| {
        let asked = Arc::new(AtomicUsize::new(0));
        let (mut nodes, mut addresses) = (JoinSet::new(), Vec::new());
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            nodes.spawn(hang_up(listener, Arc::clone(&asked)));
        }
        let [port] = free_ports()?;
        let addresses = addresses.try_into().ok().context("three nodes")?;
        let _nginx = start(lab.dir(), port, addresses)?;
        let front = SocketAddr::from(([127, 0, 0, 1], port));
        wait::until(PATIENCE, "nginx listens", async || {
            Ok(TcpStream::connect(front).await.ok())
        })
        .await?;

        let path = "/v1/channels/orders/events";
        let publish = http::post(front, path, "", "{}").await?;
        ensure!(publish.head.status == 502, "{}", publish.head.status);
        ensure!(publish.head.header("content-type") == Some("application/problem+json"));
        ensure!(publish.head.header("retry-after") == Some("2"));
        let problem: serde_json::Value = serde_json::from_str(&publish.body)?;
        ensure!(
            problem["status"] == 502 && problem["code"] == "unavailable",
            "{problem}"
        );
        let detail = problem["detail"].as_str().context("a detail")?;
        ensure!(
            detail.contains("may have gone through") && detail.contains("Idempotency-Key"),
            "{detail}"
        );
        ensure!(
            asked.swap(0, Ordering::SeqCst) == 1,
            "it was sent more than once"
        );

        let stream = http::get(front, "/v1/events?channel=orders").await?;
        // For streams each node is asked, whatever became of other requests there.
        ensure!(
            asked.load(Ordering::SeqCst) == 3,
            "{asked:?} nodes were asked"
        );
        ensure!(stream.head.status == 503, "{}", stream.head.status);
        ensure!(stream.head.header("retry-after").is_some() && stream.body.contains("unavailable"));
        Ok(())
    })
    .await;
}
