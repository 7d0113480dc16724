//! What the README tells people to type works as it stands: its shell lines and its programs are taken from the page and run,
//! with the addresses of servers of this test in place of the usual ones.

use std::{ffi::OsStr, fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::{Client, Options},
    installed,
    lab::{self, Lab, Weight},
    node::{Node, NodeSettings},
    redis::RedisServer,
    wait,
};
use sluice_wire::Position;
use tokio::{process::Command, time::timeout};

const README: &str = include_str!("../README.md");
const PATIENCE: Duration = Duration::from_secs(20);

/// The code blocks of one language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let fenced = README.split("```").skip(1).step_by(2);
    fenced.filter_map(move |block| block.strip_prefix(language)?.strip_prefix('\n'))
}

/// The shell lines that begin with `program`.
fn lines(program: &str) -> Vec<&'static str> {
    let lines = blocks("sh").flat_map(str::lines);
    lines.filter(|line| line.starts_with(program)).collect()
}

struct Servers {
    redis: RedisServer,
    node: Node,
}

impl Servers {
    async fn start(lab: &Lab) -> Result<Servers> {
        let redis = lab.redis().await?;
        let node = lab
            .node("n0", &redis.url(), NodeSettings::default())
            .await?;
        Ok(Servers { redis, node })
    }

    /// The page's text for these servers.
    fn here(&self, text: &str) -> Result<String> {
        let test = std::env::current_exe()?;
        let built = test.ancestors().nth(2).context("the folder of programs")?;
        let redis_cli = format!("redis-cli -p {} ", self.redis.addr().port());
        Ok(text
            .replace("target/debug", &built.to_string_lossy())
            .replace("127.0.0.1:8080", &self.node.http().to_string())
            .replace("127.0.0.1:6379", &self.redis.addr().to_string())
            .replace("redis-cli ", &redis_cli))
    }

    fn listen(&self) -> Client {
        Client::start("reader", Options::new(&["orders"], &[self.node.http()], 0))
    }
}

/// Runs a program to its end in `folder` and gives its standard output.
async fn output(folder: &Path, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String> {
    let what = format!(
        "{} {}",
        program.as_ref().to_string_lossy(),
        arguments.join(" ")
    );
    let command = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, command)
        .await
        .with_context(|| what.clone())?
        .with_context(|| what.clone())?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{what}
{error}"
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a shell line in the repository.
async fn shell(line: &str) -> Result<String> {
    output(&installed::root(), "bash", &["-c", line]).await
}

/// The data of all that the reader has got, once whatever was published before has come.
async fn heard(servers: &Servers, reader: &Client) -> Result<Vec<String>> {
    let end = ["PUBLISH", "sluice:{orders}", "the end"];
    servers.redis.command::<i64>(&end).await?;
    wait::until(PATIENCE, "the end has come", async || {
        let log = reader.log();
        let mut data: Vec<String> = log.events().map(|event| event.data.clone()).collect();
        Ok((data.pop().as_deref() == Some(end[2])).then_some(data))
    })
    .await
}

/// Every line that publishes with curl, redis-cli or sluice is delivered.
#[tokio::test]
async fn the_shell_lines_work_as_printed() {
    lab::run(Weight::Light, Duration::from_secs(60), async |lab| {
        let servers = Servers::start(lab).await?;
        let reader = servers.listen();
        wait::until_true(PATIENCE, "the reader is open", || reader.opened()).await?;
        let curl = lines("curl -H 'Sluice-Event");
        let redis_cli = lines("redis-cli ");
        let publish = lines("target/debug/sluice publish");
        ensure!(
            (curl.len(), redis_cli.len(), publish.len()) == (1, 3, 2),
            "{curl:?} {redis_cli:?} {publish:?}"
        );
        for line in curl.iter().chain(&redis_cli).chain(&publish) {
            shell(&servers.here(line)?).await?;
        }
        let data = heard(&servers, &reader).await?;
        let order = r#"{"id":1}"#;
        ensure!(
            data == [order, order, order, "hello", order, r#"{"id":2}"#],
            "{data:?}"
        );
        for line in lines("target/debug/sluice tail") {
            shell(&servers.here(line)?).await?;
        }
        Ok(())
    })
    .await;
}

/// Runs the page's program in `language` twice: it publishes two events, and the second, which has an id, only once.
/// Skipped, and said so, only where the machine lacks the language.
async fn program_publishes(
    language: &str,
    block: &str,
    run: impl AsyncFn(&Lab, &str) -> Result<String>,
) {
    if !installed::has(language).expect("scripts/clients answers") {
        println!("skipped: this machine lacks {language}");
        return;
    }
    lab::run(Weight::Light, Duration::from_secs(60), async |lab| {
        let servers = Servers::start(lab).await?;
        let reader = servers.listen();
        wait::until_true(PATIENCE, "the reader is open", || reader.opened()).await?;
        let code = blocks(block)
            .find(|block| block.contains("sluice_publish"))
            .context("the program")?;
        let code = servers.here(code)?;
        for _ in 0..2 {
            let positions = run(lab, &code).await?;
            // Go prints the error, none, behind it.
            let mut words = positions.lines().map(|line| line.split(' ').next());
            let read = |word: Option<&str>| word.unwrap_or_default().parse::<Position>().is_ok();
            ensure!(
                positions.lines().count() == 2 && words.all(read),
                "{positions}"
            );
        }
        let data = heard(&servers, &reader).await?;
        ensure!(data.len() == 3, "{data:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
#[ignore = "scripts/clients installs redis-py and runs this"]
async fn the_python_program_publishes() {
    program_publishes("python", "python", async |_, code| {
        let python = installed::folder()?.join("python/bin/python3");
        output(&installed::root(), python, &["-c", code]).await
    })
    .await;
}

#[tokio::test]
#[ignore = "scripts/clients installs ioredis and runs this"]
async fn the_node_program_publishes() {
    program_publishes("node", "js", async |_, code| {
        let folder = installed::folder()?.join("node");
        output(&folder, "node", &["--input-type=module", "-e", code]).await
    })
    .await;
}

#[tokio::test]
#[ignore = "scripts/clients makes go-redis available and runs this"]
async fn the_go_program_publishes() {
    program_publishes("go", "go", async |lab, code| {
        let file = lab.dir().join("main.go");
        fs::write(&file, code)?;
        let module = installed::root().join("tests/clients/programs/go");
        let file = file.to_string_lossy();
        output(&module, "go", &["run", &file]).await
    })
    .await;
}
