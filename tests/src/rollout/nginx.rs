//! nginx with the files of deploy/lb/nginx as shipped, but for addresses. Other nodes behind it are another file and a
//! reload, as on any machine: new workers take what comes, old ones keep the streams they have.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    installed, lab, nginx,
    process::{self, Signal},
    wait,
};

/// A part of the shipped files.
const LOCATIONS: &str = "sluice-locations.conf";
const PATIENCE: Duration = Duration::from_secs(10);
/// How the shipped files have a draining node say 503, so that the next one is asked.
const PASSES_OVER: &str =
    "proxy_set_header Accept \"text/event-stream, application/problem+json\";";
/// nginx ends its workers within this time when it is told to; only then may the master be killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running nginx; it and its workers end when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    folder: PathBuf,
    shipped: String,
    front: SocketAddr,
    child: Child,
}

impl Nginx {
    /// Starts it before `nodes` and waits until it listens. `worker_shutdown`: when a worker that a reload has replaced
    /// cuts the streams it still has. `passes_over`: whether it asks the next node where one is leaving, as shipped.
    pub async fn start(
        dir: &Path,
        nodes: &[SocketAddr],
        worker_shutdown: Duration,
        passes_over: bool,
    ) -> Result<Nginx> {
        let (folder, from) = (dir.join("nginx"), installed::root().join("deploy/lb/nginx"));
        fs::create_dir_all(&folder)?;
        let front = SocketAddr::from(([127, 0, 0, 1], lab::free_port()?));
        let shipped = fs::read_to_string(from.join("sluice.conf"))?;
        let listen = "listen 8080;";
        ensure!(shipped.contains(listen), "sluice.conf has no {listen}");
        let shipped = shipped.replace(listen, &format!("listen {front};"));
        let locations = fs::read_to_string(from.join(LOCATIONS))?;
        ensure!(locations.contains(PASSES_OVER), "{LOCATIONS} has changed");
        let locations = match passes_over {
            true => locations,
            false => locations.replace(PASSES_OVER, ""),
        };
        fs::write(folder.join(LOCATIONS), locations)?;
        fs::write(folder.join("nginx.conf"), around(&folder, worker_shutdown)?)?;
        fs::write(folder.join("sluice.conf"), before(&shipped, nodes)?)?;
        let child = spawn(dir, &folder)?;
        let nginx = Nginx {
            folder,
            shipped,
            front,
            child,
        };
        wait::until(PATIENCE, "nginx listens", async || {
            Ok(TcpStream::connect(front).await.ok())
        })
        .await?;
        Ok(nginx)
    }

    /// Where it listens.
    pub fn front(&self) -> SocketAddr {
        self.front
    }

    /// The master, whose children are the workers.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("nginx is not running")
    }

    /// Has these nodes behind it from now on: writes the file, reloads, and waits for new workers to be there.
    pub async fn point_to(&self, nodes: &[SocketAddr]) -> Result<()> {
        fs::write(
            self.folder.join("sluice.conf"),
            before(&self.shipped, nodes)?,
        )?;
        let workers = async || -> Result<BTreeSet<u32>> {
            Ok(process::children(self.pid()?)?.into_iter().collect())
        };
        let old = workers().await?;
        process::send(self.pid()?, Signal::Hangup)?;
        wait::until(PATIENCE, "nginx has new workers", async || {
            Ok((!workers().await?.is_subset(&old)).then_some(()))
        })
        .await
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed at once, the master would leave its workers behind.
        let Some(pid) = self.child.id() else { return };
        if process::send(pid, Signal::Terminate).is_err() {
            return;
        }
        let asked = std::time::Instant::now();
        while asked.elapsed() < LAST_WORDS && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The shipped file with these nodes in place of its examples, in every block that names them.
fn before(shipped: &str, nodes: &[SocketAddr]) -> Result<String> {
    ensure!(
        !nodes.is_empty(),
        "nginx refuses an upstream without a server"
    );
    let (mut text, mut put) = (String::new(), 0);
    for line in shipped.lines() {
        let example = line.trim_start().strip_prefix("server 127.0.0.1:");
        let Some((port, options)) = example.and_then(|rest| rest.split_once(' ')) else {
            text += &format!("{line}\n");
            continue;
        };
        // The first of each block stands for all.
        if port == "8081" {
            put += 1;
            for node in nodes {
                text += &format!("    server {node} {options}\n");
            }
        }
    }
    ensure!(put > 0, "sluice.conf has no example of a node");
    Ok(text)
}

/// What stands around the shipped files in nginx.conf, for a run that owns nothing but its folder.
fn around(folder: &Path, worker_shutdown: Duration) -> Result<String> {
    // As root, the workers must stay root to reach the folder.
    let is_root =
        fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta))? == 0;
    let user = if is_root { "user root;\n" } else { "" };
    let shutdown = worker_shutdown.as_millis();
    let main = format!("{user}worker_processes 1;\nworker_shutdown_timeout {shutdown}ms;\n");
    Ok(nginx::around(folder, &main, "include sluice.conf;"))
}

fn spawn(dir: &Path, folder: &Path) -> Result<Child> {
    Command::new("nginx")
        .arg("-e")
        .arg(dir.join("nginx.log"))
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .args(["-g", "daemon off;"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting nginx: is it installed? `make setup` does it")
}
