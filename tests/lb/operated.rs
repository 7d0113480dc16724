//! A load balancer as its operators run it: with the files of deploy/lb, started and told what to do as its own package's unit
//! does, so that it can be given another file without letting go of the streams it has, and be stopped.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use sluice_e2e::{
    http,
    lab::{self, Lab},
    process::{self, Signal},
    wait,
};
use tokio::process::{Child, Command};

use crate::{
    balancer::{Kind, Place, SHIPPED_IDLE, Upstream, caddy, envoy, nginx_with, passes_on, spawn},
    edited::{Limit, limited, process_limits, without},
    listening::listens,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// A running load balancer; all its processes are killed when it is dropped.
pub struct Operated {
    pub kind: Kind,
    /// Its listener without TLS.
    pub plain: SocketAddr,
    /// Its listener with TLS and HTTP/2.
    pub tls: SocketAddr,
    limit: Limit,
    pub folder: PathBuf,
    config: PathBuf,
    /// Caddy's and Envoy's own listener.
    pub admin: SocketAddr,
    /// The processes that were started, the last of which is the present one. Only Envoy needs more than one.
    started: Vec<Child>,
}

impl Operated {
    /// Starts it in a folder of its own and waits until it answers with what a node says.
    pub async fn start(
        lab: &Lab,
        kind: Kind,
        limit: Limit,
        upstream: &Upstream,
    ) -> Result<Operated> {
        Operated::start_edited(lab, (kind, limit), upstream, |_, text| Ok(text)).await
    }

    /// The same with its file changed once more, and perhaps another one in its folder.
    pub async fn start_edited(
        lab: &Lab,
        (kind, limit): (Kind, Limit),
        upstream: &Upstream,
        edit: impl FnOnce(&Path, String) -> Result<String>,
    ) -> Result<Operated> {
        let place = Place::new(lab.dir(), kind, upstream)?;
        let config = place.shipped(kind, SHIPPED_IDLE)?;
        let admin = SocketAddr::from(([127, 0, 0, 1], lab::free_port()?));
        let text = fs::read_to_string(&config)?;
        let text = edit(&place.folder, limited(kind, limit, admin, text)?)?;
        fs::write(&config, text)?;
        let mut operated = Operated {
            kind,
            plain: place.plain,
            tls: place.tls,
            limit,
            folder: place.folder,
            config,
            admin,
            started: Vec::new(),
        };
        operated.run().await?;
        Ok(operated)
    }

    /// Starts its program with the file that it has, and waits until it answers.
    pub async fn run(&mut self) -> Result<()> {
        self.forget_shared();
        let loaded = self.loaded();
        let child = match self.kind {
            Kind::Nginx => self.spawn(self.nginx())?,
            Kind::Haproxy => self.spawn(self.haproxy())?,
            Kind::Envoy => self.spawn(self.envoy(None)?)?,
            Kind::Caddy => self.spawn(self.caddy("run"))?,
        };
        self.started.push(child);
        let what = format!("{:?} works", self.kind);
        wait::until(PATIENCE, &what, async || {
            if let Some(status) = self.present_mut()?.try_wait()? {
                bail!("{:?} ended before it worked: {status}", self.kind);
            }
            // HAProxy's workers serve before their master listens to signals: one that comes too early is lost.
            let pid = self.pid()?;
            let is_up = self.kind != Kind::Haproxy
                || (self.loaded() > loaded && process::state(pid)? == 'S');
            Ok((is_up && passes_on(self.plain).await).then_some(()))
        })
        .await
    }

    /// How often HAProxy's master has said that it is up.
    fn loaded(&self) -> usize {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.matches("Loading success").count()
    }

    /// Takes `node` out of its file and has it read the file again: gives the moment just before, once it has done so.
    pub async fn reload_without(&mut self, node: SocketAddr) -> Result<Instant> {
        let text = without(self.kind, &fs::read_to_string(&self.config)?, node)?;
        fs::write(&self.config, text)?;
        let asked = Instant::now();
        match self.kind {
            Kind::Nginx => {
                let old = self.workers()?;
                let mut reload = self.nginx();
                reload.args(["-s", "reload"]);
                self.succeeds(reload).await?;
                self.until_other_workers(&old).await?;
            }
            Kind::Haproxy => {
                let old = self.workers()?;
                let mut check = self.haproxy();
                check.args(["-c", "-q"]);
                self.succeeds(check).await?;
                self.signal(Signal::User2)?;
                self.until_other_workers(&old).await?;
            }
            Kind::Envoy => self.restart_hot().await?,
            Kind::Caddy => {
                let mut reload = self.caddy("reload");
                reload.args(["--force", "--address", &self.admin.to_string()]);
                self.succeeds(reload).await?;
                let config = http::get(self.admin, "/config/").await?.body;
                let node = node.to_string();
                ensure!(config.contains("127.0.0.1:") && !config.contains(&node));
            }
        }
        Ok(asked)
    }

    /// The processes that only keep what was open before the last reload. (In Caddy there is but one process.)
    pub fn old_processes(&mut self) -> Result<Vec<u32>> {
        match self.kind {
            Kind::Nginx | Kind::Haproxy => {
                let mut workers = self.workers()?;
                workers.pop();
                Ok(workers)
            }
            Kind::Envoy => {
                let (_, old) = self.started.split_last_mut().context("a process")?;
                let running = |child: &mut Child| match child.try_wait() {
                    Ok(None) => child.id(),
                    Ok(Some(_)) | Err(_) => None,
                };
                Ok(old.iter_mut().filter_map(running).collect())
            }
            Kind::Caddy => Ok(Vec::new()),
        }
    }

    /// Sends `signal` to the process that its unit would send it to.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        process::send(self.pid()?, signal)
    }

    /// Waits until that process has ended.
    pub async fn until_ended(&mut self) -> Result<()> {
        let kind = self.kind;
        let ended = tokio::time::timeout(PATIENCE, self.present_mut()?.wait()).await;
        ended.with_context(|| format!("{kind:?} did not end"))??;
        Ok(())
    }

    fn present_mut(&mut self) -> Result<&mut Child> {
        self.started.last_mut().context("it was started")
    }

    fn pid(&self) -> Result<u32> {
        let present = self.started.last().and_then(Child::id);
        present.with_context(|| format!("{:?} is not running", self.kind))
    }

    /// The children of nginx's or HAProxy's master that have not ended, the newest last.
    fn workers(&self) -> Result<Vec<u32>> {
        let mut workers = process::children(self.pid()?)?;
        workers.retain(|pid| process::state(*pid).is_ok_and(|state| state != 'Z'));
        Ok(workers)
    }

    /// Waits until there is another worker than these, and none of these accepts anybody any more.
    async fn until_other_workers(&self, old: &[u32]) -> Result<()> {
        let what = format!("{:?} has a new worker", self.kind);
        wait::until(PATIENCE, &what, async || {
            let workers = self.workers()?;
            Ok((workers.iter().any(|pid| !old.contains(pid))).then_some(()))
        })
        .await?;
        self.until_deaf(old).await
    }

    /// Waits until none of these processes accepts connections.
    async fn until_deaf(&self, old: &[u32]) -> Result<()> {
        let what = format!("no old process of {:?} accepts connections", self.kind);
        wait::until(PATIENCE, &what, async || {
            for pid in old {
                if listens(*pid, self.plain)? || listens(*pid, self.tls)? {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Envoy reads its file at the start alone: another process takes over the listeners of the present one.
    async fn restart_hot(&mut self) -> Result<()> {
        let (epoch, old) = (self.started.len(), self.pid()?);
        let child = self.spawn(self.envoy(Some(epoch))?)?;
        self.started.push(child);
        wait::until(PATIENCE, "the next Envoy has taken over", async || {
            if let Some(status) = self.present_mut()?.try_wait()? {
                bail!("the next Envoy ended before it had taken over: {status}");
            }
            // While the one goes and the other comes, nobody may answer.
            let Ok(answer) = http::get(self.admin, "/server_info").await else {
                return Ok(None);
            };
            let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let is_new = said["command_line_options"]["restart_epoch"] == epoch;
            Ok((is_new && said["state"] == "LIVE").then_some(()))
        })
        .await?;
        self.until_deaf(&[old]).await
    }

    fn nginx(&self) -> Command {
        nginx_with(&self.config, &self.log())
    }

    /// With a master, as in the package's unit.
    fn haproxy(&self) -> Command {
        let mut command = Command::new("haproxy");
        command.arg("-W").arg("-f").arg(&self.config);
        command
    }

    fn caddy(&self, order: &str) -> Command {
        caddy(order, &self.config, &self.folder)
    }

    /// The first one chooses a number by which those after it find it.
    fn envoy(&self, epoch: Option<usize>) -> Result<Command> {
        let mut command = Command::new(envoy()?);
        let number = self.folder.join("base-id");
        match epoch {
            None => {
                command.arg("--use-dynamic-base-id");
                command.arg("--base-id-path").arg(number);
            }
            Some(epoch) => {
                let number = fs::read_to_string(number)?;
                command.args(["--base-id", number.trim()]);
                command.args(["--restart-epoch", &epoch.to_string()]);
            }
        }
        let limits = process_limits(self.limit)?;
        command.args(limits.split(' '));
        command.args(["--concurrency", "2", "-l", "warn", "-c"]);
        command.arg(&self.config);
        Ok(command)
    }

    fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    fn spawn(&self, command: Command) -> Result<Child> {
        spawn(self.kind, command, &self.log())
    }

    /// Takes away what an Envoy shares with the one after it, which it leaves behind.
    fn forget_shared(&self) {
        if let Ok(number) = fs::read_to_string(self.folder.join("base-id")) {
            let shared = format!("/dev/shm/envoy_shared_memory_{}0", number.trim());
            drop(fs::remove_file(shared));
        }
    }

    /// Runs what an operator runs to be done.
    async fn succeeds(&self, command: Command) -> Result<()> {
        let status = self.spawn(command)?.wait().await?;
        ensure!(
            status.success(),
            "{:?} was told to reload: {status}",
            self.kind
        );
        Ok(())
    }
}

impl Drop for Operated {
    fn drop(&mut self) {
        // Killed alone, a master would leave its workers behind; killed after them, it would have started others.
        for child in &mut self.started {
            let Some(pid) = child.id() else { continue };
            let workers = process::children(pid).unwrap_or_default();
            drop(child.start_kill());
            for worker in workers {
                drop(process::send(worker, Signal::Kill));
            }
        }
        self.forget_shared();
    }
}
