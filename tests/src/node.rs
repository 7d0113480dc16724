//! A gateway process: started from the built binary with settings from the environment, watched through its
//! admin listener, ended by signal.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    http, lab,
    metrics::Metrics,
    process::{self, Signal},
    wait,
};

const START: Duration = Duration::from_secs(20);

/// Names the binary to test when it is not the one built beside the tests.
const BINARY_VARIABLE: &str = "SLUICE_GATEWAY_BIN";

/// The audit interval that scenarios run with.
pub const AUDIT_INTERVAL: Duration = Duration::from_secs(1);

/// A gateway's settings, as environment variables.
#[derive(Clone, Debug)]
pub struct NodeSettings(BTreeMap<&'static str, String>);

impl Default for NodeSettings {
    /// Anonymous access, a short audit, and no canary, whose events would be among those that scenarios count; everything
    /// else as shipped.
    fn default() -> Self {
        let settings = [
            ("SLUICE__AUTH__MODE", "anonymous".to_owned()),
            ("SLUICE__CANARY__ENABLED", "false".to_owned()),
            (
                "SLUICE__REDIS__AUDIT_INTERVAL",
                format!("{}ms", AUDIT_INTERVAL.as_millis()),
            ),
        ];
        NodeSettings(settings.into())
    }
}

impl NodeSettings {
    /// The same with the variable `name` set to `value`.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> NodeSettings {
        self.0.insert(name, value.into());
        self
    }

    /// The same without the variable `name`, for a program that does not know it.
    pub fn without(mut self, name: &str) -> NodeSettings {
        self.0.remove(name);
        self
    }
}

/// A gateway process; killed when dropped.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    http: SocketAddr,
    admin: SocketAddr,
    redis_url: String,
    settings: NodeSettings,
    log: PathBuf,
    program: PathBuf,
    child: Child,
}

impl Node {
    /// Starts a gateway that logs to `<dir>/<name>.log`, without waiting for it.
    pub fn spawn(dir: &Path, name: &str, redis_url: &str, settings: NodeSettings) -> Result<Node> {
        Node::spawn_program(&binary()?, dir, name, redis_url, settings)
    }

    /// The same from this program, such as an older release.
    pub fn spawn_program(
        program: &Path,
        dir: &Path,
        name: &str,
        redis_url: &str,
        settings: NodeSettings,
    ) -> Result<Node> {
        let at = (loopback(lab::free_port()?), loopback(lab::free_port()?));
        Node::begin(program, at, dir, name, redis_url, settings)
    }

    /// The same as [`Node::spawn`], on listeners that are told: the public one and the admin's.
    pub fn spawn_at(
        at: (SocketAddr, SocketAddr),
        dir: &Path,
        name: &str,
        redis_url: &str,
        settings: NodeSettings,
    ) -> Result<Node> {
        Node::begin(&binary()?, at, dir, name, redis_url, settings)
    }

    fn begin(
        program: &Path,
        (http, admin): (SocketAddr, SocketAddr),
        dir: &Path,
        name: &str,
        redis_url: &str,
        settings: NodeSettings,
    ) -> Result<Node> {
        let log = dir.join(format!("{name}.log"));
        let child = start(program, http, admin, redis_url, &settings, &log)?;
        let (name, redis_url) = (name.to_owned(), redis_url.to_owned());
        Ok(Node {
            program: program.to_owned(),
            name,
            http,
            admin,
            redis_url,
            settings,
            log,
            child,
        })
    }

    /// The public listener.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn pid(&self) -> Result<u32> {
        self.child
            .id()
            .with_context(|| format!("{} is not running", self.name))
    }

    /// Waits until `/readyz` says 200; fails at once when the process ends before.
    pub async fn until_ready(&mut self) -> Result<()> {
        let admin = self.admin;
        let what = format!("{} is ready", self.name);
        wait::until(START, &what, async || {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended before it was ready: {status}", self.name);
            }
            Ok(is_ready(admin).await.then_some(()))
        })
        .await
    }

    /// Whether `/readyz` says 200 now.
    pub async fn is_ready(&self) -> bool {
        is_ready(self.admin).await
    }

    /// A scrape of `/metrics`.
    pub async fn metrics(&self) -> Result<Metrics> {
        let response = http::get(self.admin, "/metrics")
            .await
            .with_context(|| format!("scraping {}", self.name))?;
        ensure!(
            response.head.status == 200,
            "/metrics of {} says {}",
            self.name,
            response.head.status
        );
        Metrics::parse(&response.body)
    }

    /// SIGTERM: begins the drain, does not wait for the end.
    pub fn terminate(&self) -> Result<()> {
        process::send(self.pid()?, Signal::Terminate)
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("killing {}", self.name))
    }

    /// Waits for the process to end by itself.
    pub async fn until_ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = timeout(limit, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} did not end within {limit:?}", self.name))??)
    }

    /// Starts an ended gateway again on its ports, and waits until it is ready.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_some(), "{} still runs", self.name);
        self.child = start(
            &self.program,
            self.http,
            self.admin,
            &self.redis_url,
            &self.settings,
            &self.log,
        )?;
        self.until_ready().await
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn is_ready(admin: SocketAddr) -> bool {
    http::get(admin, "/readyz")
        .await
        .is_ok_and(|response| response.head.status == 200)
}

fn start(
    program: &Path,
    http: SocketAddr,
    admin: SocketAddr,
    redis_url: &str,
    settings: &NodeSettings,
    log: &Path,
) -> Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(program)
        .env("SLUICE__HTTP__BIND", http.to_string())
        .env("SLUICE__ADMIN__BIND", admin.to_string())
        .env("SLUICE__REDIS__URL", redis_url)
        .envs(settings.0.iter())
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))
}

/// The gateway to test: `SLUICE_GATEWAY_BIN`, else the one built into the same target folder as this test.
#[allow(
    clippy::disallowed_methods,
    reason = "the tests' own variable, not a setting of the gateway"
)]
fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let mut folders = test
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("sluice-gateway"));
    folders.find(|path| path.is_file()).with_context(|| {
        format!(
            "no sluice-gateway beside {}: build it first, or set {BINARY_VARIABLE}",
            test.display()
        )
    })
}
