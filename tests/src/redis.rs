//! A redis-server process of a scenario's own: stop, restart with or without its data, go back to a snapshot.
//! Keeps nothing on disk unless told to.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use redis::{AsyncConnectionConfig, FromRedisValue, aio::MultiplexedConnection};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    lab,
    process::{self, Signal},
    wait,
};

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(10);
const REPLY: Duration = Duration::from_secs(2);

/// What a redis-server finds when it is started again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Data {
    Kept,
    Lost,
}

/// A saved state of a redis-server, to go back to.
#[derive(Clone, Debug)]
pub struct Snapshot(PathBuf);

/// A redis-server on a port of its own; dies when dropped.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    dir: PathBuf,
    child: Child,
}

impl RedisServer {
    /// Starts a redis-server that works in a folder inside `dir`, and waits until it answers.
    pub async fn start(dir: &Path) -> Result<RedisServer> {
        let port = lab::free_port()?;
        let dir = dir.join(format!("redis-{port}"));
        fs::create_dir_all(&dir)?;
        let server = RedisServer {
            port,
            child: spawn(port, &dir)?,
            dir,
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

    /// A new connection whose replies may take 2 s.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        connect(&self.url()).await
    }

    /// Runs one command on a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        command(&self.url(), words).await
    }

    /// Ends every subscriber's connection from the server's side and gives back how many there were.
    pub async fn kill_subscribers(&self) -> Result<u64> {
        self.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await
    }

    /// How many connections subscribe to `topic`.
    pub async fn subscribers(&self, topic: &str) -> Result<u64> {
        let (_, count): (String, u64) = self.command(&["PUBSUB", "NUMSUB", topic]).await?;
        Ok(count)
    }

    /// SIGSTOP: the sockets stay open, nothing answers. Returns once the kernel shows it stopped.
    pub async fn pause(&self) -> Result<()> {
        process::stop(self.pid()?).await
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        process::send(self.pid()?, Signal::Continue)
    }

    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("redis-server is not running")
    }

    /// Stops the server: in order with all its data on disk, or at once with nothing kept.
    pub async fn stop(&mut self, data: Data) -> Result<()> {
        match data {
            Data::Kept => {
                let mut connection = self.connect().await?;
                // The reply is the end of the connection; that the process ends is awaited below.
                drop(
                    redis::cmd("SHUTDOWN")
                        .arg("SAVE")
                        .query_async::<()>(&mut connection)
                        .await,
                );
            }
            Data::Lost => {
                self.child.start_kill()?;
                let dump = self.dump();
                if dump.exists() {
                    fs::remove_file(dump)?;
                }
            }
        }
        let ended = timeout(STOP, self.child.wait()).await;
        ended.context("redis-server did not end")??;
        if data == Data::Kept && !self.dump().exists() {
            bail!("redis-server ended without saving its data");
        }
        Ok(())
    }

    /// Starts a stopped server again on the same port, with what is left on disk.
    pub async fn start_again(&mut self) -> Result<()> {
        self.child = spawn(self.port, &self.dir)?;
        self.until_up().await
    }

    /// Saves the present state, to go back to with [`RedisServer::restore`].
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let () = self.command(&["SAVE"]).await?;
        let copy = self.dir.join("snapshot.rdb");
        fs::copy(self.dump(), &copy)?;
        Ok(Snapshot(copy))
    }

    /// Kills the server and starts it again in the state of `snapshot`: all writes since are undone.
    pub async fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.stop(Data::Lost).await?;
        fs::copy(&snapshot.0, self.dump())?;
        self.start_again().await
    }

    fn dump(&self) -> PathBuf {
        self.dir.join("dump.rdb")
    }

    async fn until_up(&self) -> Result<()> {
        wait::until(START, "redis-server answers", async || {
            let Ok(mut connection) = self.connect().await else {
                return Ok(None);
            };
            // While it loads its data it answers with an error.
            Ok(redis::cmd("PING")
                .query_async::<()>(&mut connection)
                .await
                .ok())
        })
        .await
    }
}

/// A connection to `url` whose replies may take 2 s.
pub async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(REPLY))
        .set_response_timeout(Some(REPLY));
    Ok(redis::Client::open(url)?
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

/// Runs one command at `url`, on a connection of its own.
pub async fn command<T: FromRedisValue>(url: &str, words: &[&str]) -> Result<T> {
    let mut connection = connect(url).await?;
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let answer = command.query_async(&mut connection).await;
    answer.with_context(|| format!("{url}: {words:?}"))
}

fn spawn(port: u16, dir: &Path) -> Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.with_extension("log"))?;
    Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .args(["--maxmemory-policy", "noeviction", "--loglevel", "notice"])
        .arg("--dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        .kill_on_drop(true)
        .spawn()
        .context("starting redis-server: is it installed?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Lab;

    async fn get(server: &RedisServer) -> Result<Option<String>> {
        server.command(&["GET", "k"]).await
    }

    #[tokio::test]
    async fn data_is_kept_lost_or_brought_back_as_asked() -> Result<()> {
        let lab = Lab::new()?;
        let mut server = lab.redis().await?;
        let () = server.command(&["SET", "k", "1"]).await?;
        server.stop(Data::Kept).await?;
        server.start_again().await?;
        assert_eq!(get(&server).await?.as_deref(), Some("1"));

        let snapshot = server.snapshot().await?;
        let () = server.command(&["SET", "k", "2"]).await?;
        server.restore(&snapshot).await?;
        assert_eq!(get(&server).await?.as_deref(), Some("1"));

        server.stop(Data::Lost).await?;
        server.start_again().await?;
        assert_eq!(get(&server).await?, None);
        Ok(())
    }

    #[tokio::test]
    async fn a_paused_server_answers_nobody_until_resumed() -> Result<()> {
        let lab = Lab::new()?;
        let server = lab.redis().await?;
        let mut connection = server.connect().await?;
        server.pause().await?;
        let ping = timeout(
            Duration::from_millis(200),
            redis::cmd("PING").query_async::<()>(&mut connection),
        )
        .await;
        assert!(ping.is_err(), "a stopped server answered");
        server.resume()?;
        let () = server.command(&["PING"]).await?;
        Ok(())
    }
}
