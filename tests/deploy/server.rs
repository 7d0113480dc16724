//! A redis-server or a sentinel that runs with a file of deploy/redis: on a free port and in a folder of its own, with nothing
//! else changed.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use redis::FromRedisValue;
use sluice_e2e::{installed, lab, redis as client, wait};
use tokio::process::{Child, Command};

/// How long starting, a failover and joining may take.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Where the files say that they lie.
const PLACE: &str = "/etc/redis/";
/// What a test gives in place of the file's.
const OURS: [&str; 2] = ["port", "dir"];

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    pub port: u16,
    /// The name of its file in deploy/redis.
    file: &'static str,
    folder: PathBuf,
    words: Vec<String>,
    child: Child,
}

/// What a file is to be changed in: text and its replacement.
pub type Change<'a> = (&'a str, &'a str);

impl Server {
    /// Starts a server with `file` and `words` behind it, as on a command line, and waits until it answers.
    pub async fn start(
        dir: &Path,
        file: &'static str,
        changes: &[Change<'_>],
        words: &[&str],
    ) -> Result<Server> {
        let port = lab::free_port()?;
        let folder = dir.join(format!("{file}-{port}"));
        copy_files(&folder, file, changes)?;
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let child = spawn(port, file, &folder, &words)?;
        let server = Server {
            port,
            file,
            folder,
            words,
            child,
        };
        server.until_up().await?;
        Ok(server)
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Runs one command on a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        client::command(&self.url(), words).await.context(self.file)
    }

    /// One line of `INFO section`.
    pub async fn info(&self, section: &str, name: &str) -> Result<String> {
        let text: String = self.command(&["INFO", section]).await?;
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| *key == name);
        Ok(found
            .with_context(|| format!("INFO has no {name}"))?
            .1
            .to_owned())
    }

    /// SIGKILL, as the out-of-memory killer does it.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing a server")
    }

    /// Starts a killed server again, with what it has on disk.
    pub async fn start_again(&mut self) -> Result<()> {
        self.child = spawn(self.port, self.file, &self.folder, &self.words)?;
        self.until_up().await
    }

    /// Asks the running server for every directive of its file and of the included one, and for each of `promised`.
    pub async fn keeps_its_file(&self, promised: &[(&str, &str)]) -> Result<()> {
        let mut wanted = directives(&fs::read_to_string(shipped(self.file))?);
        wanted.extend(directives(&fs::read_to_string(shipped("sluice.conf"))?));
        ensure!(
            wanted.len() > promised.len(),
            "the files say little: {wanted:?}"
        );
        let promised = promised
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        wanted.extend(promised);
        for (name, value) in wanted {
            let found: HashMap<String, String> = self.command(&["CONFIG", "GET", &name]).await?;
            let found = found
                .get(&name)
                .with_context(|| format!("Redis knows no {name}"))?;
            ensure!(
                is_in_force(&name, &value, found),
                "{}: {name} should be {value:?} and is {found:?}",
                self.file
            );
        }
        Ok(())
    }

    async fn until_up(&self) -> Result<()> {
        wait::until(PATIENCE, "the server answers", async || {
            // While it loads its data it answers with an error.
            Ok(self.command::<String>(&["PING"]).await.ok())
        })
        .await?;
        Ok(())
    }
}

/// A file of deploy/redis.
pub fn shipped(file: &str) -> PathBuf {
    installed::root().join("deploy/redis").join(file)
}

/// What the guarantee asks of every server, whatever the files say.
pub const PROMISED: [(&str, &str); 6] = [
    ("maxmemory-policy", "noeviction"),
    ("appendonly", "yes"),
    ("appendfsync", "everysec"),
    ("stop-writes-on-bgsave-error", "yes"),
    ("client-output-buffer-limit", "pubsub 256mb 64mb 60"),
    ("timeout", "0"),
];

/// What it asks besides where there are replicas.
pub const PROMISED_WITH_REPLICAS: [(&str, &str); 3] = [
    ("min-replicas-to-write", "1"),
    ("min-replicas-max-lag", "10"),
    ("replica-read-only", "yes"),
];

/// The lines of a file that `CONFIG GET` can be asked about: name and value.
fn directives(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(name, _)| !name.starts_with('#') && *name != "include" && !OURS.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Whether `found`, as `CONFIG GET` writes it, is `wanted`, as a file writes it.
fn is_in_force(name: &str, wanted: &str, found: &str) -> bool {
    let wanted: Vec<String> = wanted.split(' ').map(in_bytes).collect();
    let wanted = wanted.join(" ");
    // One setting, with a limit for each class of clients; replicas have their old name there.
    if name == "client-output-buffer-limit" {
        return found.contains(&wanted) || found.contains(&wanted.replacen("replica", "slave", 1));
    }
    found == wanted.trim_matches('"')
}

/// `64mb` as the number of bytes; any other word as it is.
fn in_bytes(word: &str) -> String {
    for (unit, bytes) in [("kb", 1u64 << 10), ("mb", 1 << 20), ("gb", 1 << 30)] {
        if let Some(Ok(number)) = word.strip_suffix(unit).map(str::parse::<u64>) {
            return (number * bytes).to_string();
        }
    }
    word.to_owned()
}

fn copy_files(folder: &Path, file: &str, changes: &[Change<'_>]) -> Result<()> {
    fs::create_dir_all(folder)?;
    for name in [file, "sluice.conf"] {
        let mut text = fs::read_to_string(shipped(name))?;
        text = text.replace(PLACE, &format!("{}/", folder.display()));
        if name == file {
            for (old, new) in changes {
                ensure!(text.contains(old), "{name} has no {old:?}");
                text = text.replace(old, new);
            }
        }
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn spawn(port: u16, file: &str, folder: &Path, words: &[String]) -> Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.with_extension("log"))?;
    let mut command = Command::new("redis-server");
    command.arg(folder.join(file));
    if file == "sentinel.conf" {
        command.arg("--sentinel");
    }
    command
        .args(["--port", &port.to_string(), "--dir"])
        .arg(folder)
        .args(words)
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        .kill_on_drop(true)
        .spawn()
        .context("starting redis-server: is it installed? `make setup` does it")
}

#[test]
fn a_setting_that_is_not_in_force_is_noticed() {
    assert!(is_in_force("repl-backlog-size", "64mb", "67108864"));
    assert!(!is_in_force("repl-backlog-size", "64mb", "1048576"));
    assert!(is_in_force("save", "3600 1 300 10000", "3600 1 300 10000"));
    let limits = "normal 0 0 0 slave 1073741824 536870912 120 pubsub 33554432 8388608 60";
    let name = "client-output-buffer-limit";
    assert!(is_in_force(name, "replica 1gb 512mb 120", limits));
    assert!(!is_in_force(name, "pubsub 256mb 64mb 60", limits));
    let lines = directives("# reason\nmaxmemory 1gb\nport 1\n\ninclude x\n");
    assert_eq!(lines, [("maxmemory".to_owned(), "1gb".to_owned())]);
}
