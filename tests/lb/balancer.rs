//! A real load balancer as a child process, before three nodes that differ only by their address: with the files that users
//! get from deploy/lb, or with what one writes before having read about streams.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use sluice_e2e::{certificate::Certificate, http, installed, lab, nginx, wait};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

const START: Duration = Duration::from_secs(20);
/// The limit on a quiet stream in all shipped files: five heartbeats.
pub const SHIPPED_IDLE: &str = "75s";

/// The load balancers that Sluice has files for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Envoy,
    Caddy,
}

/// With which settings.
#[derive(Clone, Debug)]
pub enum Settings {
    /// The files of deploy/lb, with nothing changed but addresses.
    Shipped,
    /// The same with a shorter limit on quiet streams, in whole seconds.
    Impatient(u64),
    /// tests/lb/wrong, with more lines where the file has room for them.
    Wrong(&'static str),
}

/// The nodes: public listeners, and the port of all their admin listeners.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub nodes: [SocketAddr; 3],
    pub admin_port: u16,
}

/// A running load balancer; killed when dropped.
pub struct Balancer {
    pub kind: Kind,
    /// Its listener without TLS.
    pub plain: SocketAddr,
    /// Its listener with TLS and HTTP/2, which only the shipped files have.
    pub tls: SocketAddr,
    child: Child,
}

impl Balancer {
    /// Starts it in a folder inside `dir` and waits until it answers with what a node says.
    pub async fn start(
        dir: &Path,
        kind: Kind,
        settings: &Settings,
        upstream: &Upstream,
    ) -> Result<Balancer> {
        let mut balancer = Balancer::spawn(dir, kind, settings, upstream)?;
        balancer.until(passes_on).await?;
        Ok(balancer)
    }

    /// The same before nodes that are not to be asked yet: it listens.
    pub async fn start_unasked(
        dir: &Path,
        kind: Kind,
        settings: &Settings,
        upstream: &Upstream,
    ) -> Result<Balancer> {
        let mut balancer = Balancer::spawn(dir, kind, settings, upstream)?;
        balancer.until(listens).await?;
        Ok(balancer)
    }

    fn spawn(dir: &Path, kind: Kind, settings: &Settings, upstream: &Upstream) -> Result<Balancer> {
        let place = Place::new(dir, kind, upstream)?;
        let (plain, tls) = (place.plain, place.tls);
        let config = match settings {
            Settings::Shipped => place.shipped(kind, SHIPPED_IDLE)?,
            Settings::Impatient(seconds) => place.shipped(kind, &format!("{seconds}s"))?,
            Settings::Wrong(more) => place.wrong(kind, more)?,
        };
        let log = dir.join(format!("{kind:?}-{}.log", plain.port()));
        let child = place.run(kind, &config, &log)?;
        Ok(Balancer {
            kind,
            plain,
            tls,
            child,
        })
    }

    /// Waits until `probe` of its plain listener succeeds.
    async fn until(&mut self, probe: impl AsyncFn(SocketAddr) -> bool) -> Result<()> {
        let (kind, plain) = (self.kind, self.plain);
        wait::until(START, &format!("{kind:?} works"), async || {
            if let Some(status) = self.child.try_wait()? {
                bail!("{kind:?} ended before it worked: {status}");
            }
            Ok(probe(plain).await.then_some(()))
        })
        .await
    }
}

/// Whether a node answers through it.
pub async fn passes_on(front: SocketAddr) -> bool {
    let answer = http::get(front, "/v1/poll").await;
    answer.is_ok_and(|answer| answer.head.status < 500)
}

async fn listens(front: SocketAddr) -> bool {
    TcpStream::connect(front).await.is_ok()
}

fn loopback() -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], lab::free_port()?)))
}

/// `text` with each `from` changed into `to`: every one of them must be there.
pub fn changed(mut text: String, changes: &[(&str, String)]) -> Result<String> {
    for (from, to) in changes {
        ensure!(text.contains(from), "the file does not say {from:?}");
        text = text.replace(from, to);
    }
    Ok(text)
}

/// Where one load balancer stands.
pub struct Place<'a> {
    pub folder: PathBuf,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    pub upstream: &'a Upstream,
}

impl<'a> Place<'a> {
    /// Ports and a folder inside `dir`.
    pub fn new(dir: &Path, kind: Kind, upstream: &'a Upstream) -> Result<Place<'a>> {
        let (plain, tls) = (loopback()?, loopback()?);
        let folder = dir.join(format!("{kind:?}-{}", plain.port()));
        fs::create_dir_all(&folder)?;
        Ok(Place {
            folder,
            plain,
            tls,
            upstream,
        })
    }

    /// Writes the shipped files with this place's addresses and this limit on quiet streams; gives the main one.
    pub fn shipped(&self, kind: Kind, idle: &str) -> Result<PathBuf> {
        let from = installed::root().join("deploy/lb");
        match kind {
            Kind::Nginx => self.shipped_nginx(&from.join("nginx"), idle),
            Kind::Haproxy => self.shipped_haproxy(&from.join("haproxy"), idle),
            Kind::Envoy => self.shipped_envoy(&from.join("envoy"), idle),
            Kind::Caddy => self.shipped_caddy(&from.join("caddy"), idle),
        }
    }

    fn shipped_nginx(&self, from: &Path, idle: &str) -> Result<PathBuf> {
        let mut changes = vec![("listen 8080;", format!("listen {};", self.plain))];
        let examples: Vec<String> = (8081..=8083)
            .map(|port| format!("server 127.0.0.1:{port} "))
            .collect();
        for (example, node) in examples.iter().zip(self.upstream.nodes) {
            changes.push((example, format!("server {node} ")));
        }
        let main = changed(fs::read_to_string(from.join("sluice.conf"))?, &changes)?;
        let tls = changed(
            fs::read_to_string(from.join("sluice-tls.conf"))?,
            &[
                ("listen 8443 ", format!("listen {} ", self.tls)),
                ("/etc/nginx/sluice", self.pair()?),
            ],
        )?;
        let locations = changed(
            fs::read_to_string(from.join("sluice-locations.conf"))?,
            &[(
                &format!("proxy_read_timeout {SHIPPED_IDLE};"),
                format!("proxy_read_timeout {idle};"),
            )],
        )?;
        fs::write(self.folder.join("sluice-locations.conf"), locations)?;
        self.nginx(&format!("{main}\n{tls}"))
    }

    /// nginx.conf around the server blocks: what a run without root needs.
    fn nginx(&self, servers: &str) -> Result<PathBuf> {
        let text = nginx::around(&self.folder, nginx::ONE_PROCESS, servers);
        self.write("nginx.conf", text)
    }

    fn shipped_haproxy(&self, from: &Path, idle: &str) -> Result<PathBuf> {
        self.pair()?;
        let mut text = fs::read_to_string(from.join("haproxy.cfg"))?;
        text = changed(text, &self.node_changes(":8080"))?;
        let changes = [
            ("bind :8080", format!("bind {}", self.plain)),
            ("bind :8443", format!("bind {}", self.tls)),
            (
                "/etc/haproxy/sluice.pem",
                format!("{}/sluice.pem", self.folder.display()),
            ),
            (
                "check port 9090 ",
                format!("check port {} ", self.upstream.admin_port),
            ),
            ("maxconn 90000", "maxconn 4000".to_owned()),
            (
                &format!("timeout server {SHIPPED_IDLE}"),
                format!("timeout server {idle}"),
            ),
        ];
        self.write("haproxy.cfg", changed(text, &changes)?)
    }

    fn shipped_envoy(&self, from: &Path, idle: &str) -> Result<PathBuf> {
        let mut text = fs::read_to_string(from.join("envoy.yaml"))?;
        text = changed(text, &self.node_changes(", port_value: 8080"))?;
        let port = |port: u16| format!("127.0.0.1, port_value: {port}");
        let changes = [
            ("0.0.0.0, port_value: 8080", port(self.plain.port())),
            ("0.0.0.0, port_value: 8443", port(self.tls.port())),
            ("127.0.0.1, port_value: 9901", port(lab::free_port()?)),
            (
                "port_value: 9090",
                format!("port_value: {}", self.upstream.admin_port),
            ),
            ("/etc/envoy/sluice", self.pair()?),
            (
                &format!("stream_idle_timeout: {SHIPPED_IDLE}"),
                format!("stream_idle_timeout: {idle}"),
            ),
        ];
        self.write("envoy.yaml", changed(text, &changes)?)
    }

    fn shipped_caddy(&self, from: &Path, idle: &str) -> Result<PathBuf> {
        let mut text = fs::read_to_string(from.join("Caddyfile"))?;
        text = changed(text, &self.node_changes(":8080"))?;
        let listen = |at: SocketAddr| format!("\n:{} {{\n\tbind 127.0.0.1\n", at.port());
        let changes = [
            ("\n{\n", "\n{\n\tadmin off\n".to_owned()),
            ("\n:8080 {\n", listen(self.plain)),
            ("\n:8443 {\n", listen(self.tls)),
            (
                "health_port 9090",
                format!("health_port {}", self.upstream.admin_port),
            ),
            ("/etc/caddy/sluice", self.pair()?),
            (
                &format!("read_timeout {SHIPPED_IDLE}"),
                format!("read_timeout {idle}"),
            ),
        ];
        self.write("Caddyfile", changed(text, &changes)?)
    }

    /// The nodes of an example, 10.0.0.11 to .13, and `tail` behind each.
    fn node_changes(&self, tail: &str) -> Vec<(&'static str, String)> {
        let port = tail.replace("8080", &self.upstream.nodes[0].port().to_string());
        let examples: [&'static str; 3] = if tail.starts_with(':') {
            ["10.0.0.11:8080", "10.0.0.12:8080", "10.0.0.13:8080"]
        } else {
            [
                "10.0.0.11, port_value: 8080",
                "10.0.0.12, port_value: 8080",
                "10.0.0.13, port_value: 8080",
            ]
        };
        let nodes = self.upstream.nodes.iter().map(SocketAddr::ip);
        examples
            .into_iter()
            .zip(nodes)
            .map(|(example, ip)| (example, format!("{ip}{port}")))
            .collect()
    }

    /// Writes tests/lb/wrong with this place's addresses and `more` lines; gives the main file.
    fn wrong(&self, kind: Kind, more: &str) -> Result<PathBuf> {
        let from = installed::root().join("tests/lb/wrong");
        let nodes = self.upstream.nodes;
        let ips: Vec<IpAddr> = nodes.iter().map(SocketAddr::ip).collect();
        let fill = |name: &str| -> Result<String> {
            let mut text = fs::read_to_string(from.join(name))?;
            ensure!(
                more.is_empty() || text.contains("# more"),
                "{name} has no room"
            );
            text = text.replace("# more", more);
            for (at, node) in nodes.iter().enumerate() {
                text = text.replace(&format!("NODE{}", at + 1), &node.to_string());
                text = text.replace(&format!("IP{}", at + 1), &ips[at].to_string());
            }
            text = text.replace("NODES", &nodes[0].port().to_string());
            text = text.replace("FRONT", &self.plain.to_string());
            text = text.replace("PORT", &self.plain.port().to_string());
            Ok(text)
        };
        match kind {
            Kind::Nginx => self.nginx(&fill("nginx.conf")?),
            Kind::Haproxy => self.write("haproxy.cfg", fill("haproxy.cfg")?),
            Kind::Envoy => self.write("envoy.yaml", fill("envoy.yaml")?),
            Kind::Caddy => self.write("Caddyfile", fill("Caddyfile")?),
        }
    }

    fn write(&self, name: &str, text: String) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Makes a certificate for the loopback: `sluice.crt`, `sluice.key`, and both in `sluice.pem`; gives their path up to the dot.
    fn pair(&self) -> Result<String> {
        let stem = self.folder.join("sluice");
        let pair = Certificate::make(&stem)?;
        let both = fs::read_to_string(pair.certificate)? + &fs::read_to_string(pair.key)?;
        fs::write(stem.with_extension("pem"), both)?;
        Ok(stem.display().to_string())
    }

    fn run(&self, kind: Kind, config: &Path, log: &Path) -> Result<Child> {
        let command = match kind {
            Kind::Nginx => nginx_with(config, log),
            Kind::Haproxy => {
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(config);
                command
            }
            Kind::Envoy => {
                let mut command = Command::new(envoy()?);
                command.args(["--disable-hot-restart", "--concurrency", "2", "-l", "warn"]);
                command.arg("-c").arg(config);
                command
            }
            Kind::Caddy => caddy("run", config, &self.folder),
        };
        spawn(kind, command, log)
    }
}

pub fn nginx_with(config: &Path, log: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-e").arg(log).arg("-c").arg(config);
    command
}

/// Caddy is told what to do by words; it keeps files of its own in `folder`.
pub fn caddy(order: &str, config: &Path, folder: &Path) -> Command {
    let mut command = Command::new("caddy");
    command.args([order, "--adapter", "caddyfile", "--config"]);
    command.arg(config);
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(variable, folder);
    }
    command
}

/// Starts `command`, which ends with the test, and writes what it says behind what `log` has.
pub fn spawn(kind: Kind, mut command: Command, log: &Path) -> Result<Child> {
    let file = fs::OpenOptions::new().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stderr(file.try_clone()?)
        .stdout(file)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {kind:?}: `scripts/lb` installs it"))
}

/// Envoy's program inside the Python package that scripts/setup installs.
pub fn envoy() -> Result<PathBuf> {
    let packages = installed::target()?.join("envoy/lib");
    let found = fs::read_dir(&packages)
        .with_context(|| format!("{}: `scripts/lb` installs Envoy", packages.display()))?
        .flatten()
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|path| path.is_file());
    found.with_context(|| format!("no Envoy in {}", packages.display()))
}
