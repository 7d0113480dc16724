//! A real Prometheus, started with the configuration that is shipped: only its pace is quicker, and the targets are those of
//! the test.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::{http, lab, node::Node, wait};
use tokio::process::{Child, Command};

use crate::root;

const START: Duration = Duration::from_secs(20);
/// How often it scrapes and evaluates here.
const PACE: &str = "1s";
const SHIPPED_PACE: &str = "15s";

/// A Prometheus process; killed when dropped.
pub struct Prometheus {
    addr: SocketAddr,
    _child: Child,
}

impl Prometheus {
    /// Starts one that works in `dir` and scrapes `nodes`.
    pub async fn start(dir: &Path, nodes: &[Node]) -> Result<Prometheus> {
        let home = dir.join("prometheus");
        configure(&home, nodes)?;
        let addr = SocketAddr::from(([127, 0, 0, 1], lab::free_port()?));
        let log = fs::File::create(dir.join("prometheus.log"))?;
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yaml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={addr}"))
            .current_dir(&home)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting prometheus: is it installed? (make setup)")?;
        let started = Prometheus {
            addr,
            _child: child,
        };
        let ready = wait::until(START, "prometheus is ready", async || {
            let answer = http::get(addr, "/-/ready").await;
            Ok(answer.is_ok_and(|is| is.head.status == 200).then_some(()))
        });
        ready.await?;
        Ok(started)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `data` of an answer of the HTTP API; a refusal is an error in Prometheus' own words.
    pub async fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        let path = format!("/api/v1/{path}?{}", query.join("&"));
        let answer = http::get(self.addr, &path).await?;
        let mut body: Value = serde_json::from_str(&answer.body)
            .with_context(|| format!("no JSON: {}", answer.body))?;
        ensure!(body["status"] == "success", "{}", body["error"]);
        Ok(body["data"].take())
    }

    /// The series of an instant query.
    pub async fn now(&self, query: &str) -> Result<Vec<Value>> {
        let data = self.api("query", &[("query", query)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The series of a query over the last `seconds`, as many values as there are scrapes: what lasted for one of them is there.
    pub async fn lately(&self, query: &str, seconds: u64) -> Result<Vec<Value>> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs();
        let parameters = [
            ("query", query),
            ("start", &(now - seconds).to_string()),
            ("end", &now.to_string()),
            ("step", PACE),
        ];
        let data = self.api("query_range", &parameters).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }
}

/// Its folder: what is shipped, but for the pace and the targets.
fn configure(home: &Path, nodes: &[Node]) -> Result<()> {
    for folder in ["rules", "targets"] {
        fs::create_dir_all(home.join(folder))?;
    }
    let shipped = fs::read_to_string(root().join("grafana/prometheus.yaml"))?;
    ensure!(
        shipped.contains(SHIPPED_PACE),
        "grafana/prometheus.yaml has another pace than {SHIPPED_PACE}"
    );
    fs::write(
        home.join("prometheus.yaml"),
        shipped.replace(SHIPPED_PACE, PACE),
    )?;
    for rules in rule_files()? {
        let name = rules.file_name().context("a file's name")?;
        fs::copy(&rules, home.join("rules").join(name))?;
    }
    // One is known by its address alone, as where nobody gives names.
    let targets: Vec<String> = nodes
        .iter()
        .enumerate()
        .map(|(n, node)| {
            let name = if n == 0 {
                String::new()
            } else {
                format!(", node: {}", node.name)
            };
            let admin = node.admin();
            format!("- targets: [\"{admin}\"]\n  labels: {{cluster: eu, namespace: prod{name}}}\n")
        })
        .collect();
    fs::write(home.join("targets/sluice.yaml"), targets.concat())?;
    Ok(())
}

/// The rules that are shipped.
pub fn rule_files() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root().join("grafana/rules"))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    Ok(found)
}

fn escaped(text: &str) -> String {
    let one = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(one).collect()
}
