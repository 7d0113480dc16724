//! What a program in an image without anything has from its surroundings: an authority in the bundle of the image, a Redis that
//! shows a certificate of it, and a name server.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{lab, wait};
use tokio::{
    net::{TcpStream, UdpSocket},
    process::{Child, Command},
    task::JoinSet,
};

use crate::tools::run;

/// The name that only the name server knows.
pub const NAME: &str = "redis.sluice.test";
/// The bundle of the machine that builds, as the build stage has it.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const PATIENCE: Duration = Duration::from_secs(10);

/// An authority, and a certificate of it for [`NAME`] and `localhost`.
pub struct Trust {
    dir: PathBuf,
}

impl Trust {
    pub async fn new(dir: &Path) -> Result<Trust> {
        let dir = dir.join("trust");
        fs::create_dir_all(&dir)?;
        let at = |name: &str| dir.join(name).display().to_string();
        let (ca, ca_key, key, request) =
            (at("ca.crt"), at("ca.key"), at("redis.key"), at("redis.csr"));
        let (certificate, names) = (at("redis.crt"), at("names"));
        fs::write(&names, format!("subjectAltName=DNS:{NAME},DNS:localhost\n"))?;
        let words = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        let words: Vec<&str> = words.split(' ').collect();
        let own = [
            "-x509",
            "-subj",
            "/CN=Test authority",
            "-keyout",
            &ca_key,
            "-out",
            &ca,
        ];
        run("openssl", &[&words[..], &own].concat()).await?;
        let asked = ["-subj", "/CN=redis", "-keyout", &key, "-out", &request];
        run("openssl", &[&words[..words.len() - 2], &asked].concat()).await?;
        let sign = [
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &names,
            "-out",
            &certificate,
        ];
        run("openssl", &sign).await?;
        Ok(Trust { dir })
    }

    /// The machine's bundle of authorities, with this one behind them.
    pub fn bundle(&self) -> Result<String> {
        let machine = machine_bundle()?;
        Ok(machine + &fs::read_to_string(self.dir.join("ca.crt"))?)
    }

    /// A Redis that speaks TLS alone.
    pub async fn redis(&self) -> Result<(Child, u16)> {
        let port = lab::free_port()?;
        let log = fs::File::create(self.dir.with_extension("redis.log"))?;
        let words = "--port 0 --bind 127.0.0.1 --save  --appendonly no --tls-auth-clients no";
        let child = Command::new("redis-server")
            .args(words.split(' '))
            .args(["--tls-port", &port.to_string(), "--tls-cert-file"])
            .arg(self.dir.join("redis.crt"))
            .arg("--tls-key-file")
            .arg(self.dir.join("redis.key"))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log)
            .kill_on_drop(true)
            .spawn()?;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        wait::until(PATIENCE, "redis-server listens", async || {
            Ok(TcpStream::connect(addr).await.ok())
        })
        .await?;
        Ok((child, port))
    }
}

/// The bundle of the machine alone.
pub fn machine_bundle() -> Result<String> {
    let bundle = fs::read_to_string(BUNDLE).context("ca-certificates are not installed")?;
    ensure!(bundle.contains("BEGIN CERTIFICATE"), "{BUNDLE} is empty");
    Ok(bundle)
}

/// A name server that knows [`NAME`] alone, on an address of the loopback of its own: resolvers ask port 53 and no other.
pub struct NameServer {
    pub addr: Ipv4Addr,
    _answers: JoinSet<()>,
}

/// How many this process has started: tests run side by side.
static STARTED: AtomicU8 = AtomicU8::new(0);

impl NameServer {
    pub async fn start() -> Result<NameServer> {
        let [.., high, low] = std::process::id().to_be_bytes();
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let addr = Ipv4Addr::new(127, 53 + nth % 100, high, low.clamp(1, 254));
        let socket = UdpSocket::bind((addr, 53))
            .await
            .context("port 53, as root")?;
        let mut answers = JoinSet::new();
        answers.spawn(async move {
            let mut bytes = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                if let Some(answer) = answer(&bytes[..length])
                    && socket.send_to(&answer, from).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(NameServer {
            addr,
            _answers: answers,
        })
    }
}

/// The answer to a question (RFC 1035): 127.0.0.1 for an A record of [`NAME`], nothing of other types, no such name else.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name: Vec<u8> = NAME
        .split('.')
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .chain([0])
        .collect();
    let asked = question.get(HEADER..)?;
    let end = asked.iter().position(|byte| *byte == 0)? + 1;
    let (asked_name, kind) = (asked.get(..end)?, asked.get(end..end + 4)?);
    let is_known = asked_name.eq_ignore_ascii_case(&name);
    let has_address = is_known && kind == [0, 1, 0, 1];
    let code = if is_known { 0x80 } else { 0x83 };
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x85, code, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend_from_slice(asked.get(..end + 4)?);
    if has_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
