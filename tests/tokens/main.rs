//! Tokens minted in several languages, each with the library people use there: a gateway takes them for what they grant and
//! nothing else. docs/auth.md shows these programs, and its lines on keys are run.

mod page;

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sluice_e2e::{
    http::{self, ResponseReader},
    installed::{self, root},
    lab::{self, Lab, Weight},
    node::{Node, NodeSettings},
    redis::RedisServer,
    sse::{Block, Item, Parser},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

const SECRET: &str = "a secret of the tests, longer than thirty-two bytes";
const LIMIT: Duration = Duration::from_secs(60);
/// A program's run, the start of its runtime included.
const PATIENCE: Duration = Duration::from_secs(30);
/// While a line is awaited, an event is published this often.
const BETWEEN_TICKS: Duration = Duration::from_millis(100);
/// How long each program's token lasts.
const LIFETIME: u64 = 15 * 60;

/// The languages, and the programs under tests/tokens.
const PROGRAMS: &[(&str, &str)] = &[
    ("python", "python/mint.py"),
    ("node", "node/mint.mjs"),
    ("go", "go/mint/main.go"),
    ("java", "java/Mint.java"),
    ("rust", "rust/mint.rs"),
];

/// The program of a language, ready to be started.
fn program(language: &str, source: &str) -> Result<Command> {
    let source = root().join("tests/tokens").join(source);
    // Beside the suite `clients`, whose packages are its own.
    let packages = installed::folder()?.with_file_name("tokens").join(language);
    let mut command = match language {
        "python" => Command::new(packages.join("bin/python3")),
        "node" => Command::new("node"),
        "go" => Command::new(packages.join("mint")),
        "java" => Command::new("java"),
        _ => Command::new(installed::built()?.join("examples/mint")),
    };
    match language {
        "python" => drop(command.arg(source)),
        "node" => {
            // It finds its packages beside itself.
            let copy = packages.join("mint.mjs");
            std::fs::copy(source, &copy).context("scripts/tokens installs the packages")?;
            command.arg(copy);
        }
        "java" => {
            let jars = packages.join("*");
            command.arg("-cp").arg(jars).arg(source);
        }
        _ => {}
    }
    Ok(command)
}

/// Runs a program to its end and gives what it printed.
async fn output(mut command: Command) -> Result<String> {
    let what = format!("{:?}", command.as_std());
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, run).await.with_context(|| what.clone())?;
    let output = output.with_context(|| what.clone())?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}\n{error}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn mint(language: &str, source: &str) -> Result<String> {
    let mut command = program(language, source)?;
    command.arg("42").env("SLUICE_TOKEN_SECRET", SECRET);
    let token = output(command).await?.trim().to_owned();
    ensure!(
        token.matches('.').count() == 2,
        "{language} printed {token:?}"
    );
    Ok(token)
}

struct Servers {
    redis: RedisServer,
    node: Node,
}

impl Servers {
    async fn start(lab: &Lab) -> Result<Servers> {
        let redis = lab.redis().await?;
        let settings = NodeSettings::default()
            .with("SLUICE__AUTH__MODE", "jwt")
            .with("SLUICE__AUTH__JWT__SECRET", SECRET);
        let node = lab.node("n0", &redis.url(), settings).await?;
        Ok(Servers { redis, node })
    }

    /// Goes the way of a token that user 42 got for `orders.*` and `user.{sub}`.
    async fn walk(&self, token: &str) -> Result<()> {
        let addr = self.node.http();
        let mut stream = Stream::open(addr, "channel=orders.eu&channel=user.42", token).await?;
        let data = ["PUBLISH", "sluice:{user.42}", "for 42"];
        self.redis.command::<i64>(&data).await?;
        let event = stream.next().await?;
        ensure!(event.data.contains("for 42"), "{event:?}");

        for query in [
            "channel=user.43",
            "channel=orders",
            "channel=orders.eu&channel=private",
        ] {
            let refused = Stream::open(addr, query, token).await;
            let error = refused.err().with_context(|| format!("{query} is open"))?;
            ensure!(
                error.to_string() == "403 insufficient_scope",
                "{query}: {error:#}"
            );
        }
        let headers = format!("Authorization: Bearer {token}\r\n");
        let published = http::post(addr, "/v1/channels/orders.eu/events", &headers, "x").await?;
        ensure!(published.head.status == 403, "{published:?}");

        // The claims of this token under another signature.
        let (claims, signature) = token.rsplit_once('.').context("three parts")?;
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{claims}.{first}{}", &signature[1..]);
        let refused = Stream::open(addr, "channel=user.42", &forged).await;
        let error = refused.err().context("a forged token is taken")?;
        ensure!(error.to_string() == "401 invalid_token", "{error:#}");
        Ok(())
    }
}

/// A stream that is open.
struct Stream {
    socket: TcpStream,
    response: ResponseReader,
    parser: Parser,
    items: Vec<Item>,
}

impl Stream {
    /// Opens it and waits for `sluice.open`; a refusal is the error `<status> <code>`.
    async fn open(addr: SocketAddr, query: &str, token: &str) -> Result<Stream> {
        let mut socket = TcpStream::connect(addr).await?;
        let request = format!(
            "GET /v1/events?{query}&envelope=json HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut stream = Stream {
            socket,
            response: ResponseReader::default(),
            parser: Parser::default(),
            items: Vec::new(),
        };
        let mut body = Vec::new();
        while stream.response.head().is_none() {
            body.extend(stream.read().await?);
        }
        let status = stream.response.head().context("a head")?.status;
        if status != 200 {
            while !stream.response.is_whole() {
                body.extend(stream.read().await?);
            }
            let problem: Value = serde_json::from_slice(&body)?;
            bail!("{status} {}", problem["code"].as_str().unwrap_or_default());
        }
        stream.parser.feed(&body, &mut stream.items);
        let open = stream.next().await?;
        ensure!(open.event == "sluice.open", "{open:?}");
        Ok(stream)
    }

    async fn read(&mut self) -> Result<Vec<u8>> {
        let (mut some, mut body) = ([0; 8_192], Vec::new());
        let count = timeout(PATIENCE, self.socket.read(&mut some)).await??;
        ensure!(count > 0, "the connection has ended");
        self.response.feed(&some[..count], &mut body)?;
        Ok(body)
    }

    async fn next(&mut self) -> Result<Block> {
        loop {
            for item in std::mem::take(&mut self.items) {
                if let Item::Event(block) = item {
                    return Ok(block);
                }
            }
            let body = self.read().await?;
            self.parser.feed(&body, &mut self.items);
        }
    }
}

/// What `sluice token inspect` finds in a token: the right signature, the expected claims, and nothing against it.
async fn inspect(token: &str) -> Result<Value> {
    let mut command = Command::new(installed::built()?.join("sluice"));
    command.args(["token", "inspect", token, "--json"]);
    let told: Value = serde_json::from_str(&output(secretly(command)).await?)?;
    ensure!(told["signature"] == "verified", "{told}");
    ensure!(told["complaints"] == Value::Array(Vec::new()), "{told}");
    let claims = &told["claims"];
    ensure!(claims["sub"] == "42", "{told}");
    ensure!(
        claims["sluice"]["subscribe"] == serde_json::json!(["orders.*", "user.{sub}"]),
        "{told}"
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let left = claims["exp"].as_u64().context("exp")?.saturating_sub(now);
    ensure!((LIFETIME - 30..=LIFETIME).contains(&left), "{told}");
    Ok(claims["jti"].clone())
}

fn secretly(mut command: Command) -> Command {
    command.env("SLUICE_TOKEN_SECRET", SECRET);
    command
}

/// Each program's token opens the channels that it grants to user 42, and no other.
#[tokio::test]
#[ignore = "scripts/tokens installs the libraries and runs this"]
async fn tokens_of_five_languages_open_what_they_grant_and_nothing_else() {
    lab::run(Weight::Light, LIMIT * 3, async |lab| {
        let servers = Servers::start(lab).await?;
        let mut ran = 0;
        for (language, source) in PROGRAMS {
            if *language != "rust" && !installed::has(language)? {
                println!("skipped: this machine lacks {language}");
                continue;
            }
            let walked = async {
                let token = mint(language, source).await?;
                let id = inspect(&token).await?;
                ensure!(
                    id != inspect(&mint(language, source).await?).await?,
                    "the same id twice"
                );
                servers.walk(&token).await
            };
            walked.await.with_context(|| format!("of {language}"))?;
            println!("{language}: taken for what it grants");
            ran += 1;
        }
        // Only Go may be missing: scripts/setup installs the others.
        ensure!(ran >= PROGRAMS.len() - 1, "only {ran} languages ran");
        Ok(())
    })
    .await;
}

/// So does a token of `sluice token mint`.
#[tokio::test]
async fn a_token_of_sluice_opens_what_it_grants_and_nothing_else() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let servers = Servers::start(lab).await?;
        let mut command = Command::new(installed::built()?.join("sluice"));
        command.args([
            "token",
            "mint",
            "--sub",
            "42",
            "--subscribe",
            "orders.*",
            "--subscribe",
            "user.{sub}",
        ]);
        let token = output(secretly(command)).await?.trim().to_owned();
        inspect(&token).await?;
        servers.walk(&token).await
    })
    .await;
}

/// The lines of docs/auth.md that make keys do, one after the other, in an empty folder.
#[tokio::test]
async fn the_lines_that_make_keys_work_as_printed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let blocks = page::shell_blocks("## Keys")?;
    ensure!(blocks.len() >= 2, "{} blocks", blocks.len());
    for block in blocks {
        let mut command = Command::new("bash");
        let built = installed::built()?;
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", built.display());
        command.args(["-euc", &block]).current_dir(folder.path());
        output({
            command.env_clear().env("PATH", path);
            command
        })
        .await?;
    }
    let made = |name: &str| Path::exists(&folder.path().join(name));
    for name in [
        "secret",
        "rsa.pem",
        "p256.pem",
        "p384.pem",
        "ed25519.pem",
        "public.pem",
        "jwks.json",
    ] {
        ensure!(made(name), "no {name}");
    }
    Ok(())
}

/// The lines of docs/auth.md for a server: it mints, reads a stream, publishes and tails.
#[tokio::test]
async fn the_lines_of_a_server_work_as_printed() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let servers = Servers::start(lab).await?;
        std::fs::write(lab.dir().join("secret"), SECRET)?;
        let blocks = page::shell_blocks("## Server with a bearer token")?;
        let lines: Vec<&str> = blocks.iter().flat_map(|block| block.lines()).collect();
        let [mint, stream, publish, tail] = lines.as_slice() else {
            bail!("four lines, not {lines:?}");
        };
        for (line, expected) in [
            (stream, "event: sluice.open"),
            (publish, "\"channel\":\"inbox\""),
            (tail, "a tick"),
        ] {
            let said = until_said(&servers, lab.dir(), mint, line, expected).await;
            said.with_context(|| (*line).to_owned())?;
        }
        Ok(())
    })
    .await;
}

/// Runs `first` and then `line` in the shell until it has printed `expected`, while events are published on `orders.eu`.
async fn until_said(
    servers: &Servers,
    folder: &Path,
    first: &str,
    line: &str,
    expected: &str,
) -> Result<()> {
    // One process, so that its end is the end of all.
    let line = match line.strip_prefix("SLUICE_TOKEN=$TOKEN ") {
        Some(line) => format!("export SLUICE_TOKEN=$TOKEN; exec {line}"),
        None => format!("exec {line}"),
    };
    let line = line.replace("127.0.0.1:8080", &servers.node.http().to_string());
    let path = format!(
        "{}:/usr/local/bin:/usr/bin:/bin",
        installed::built()?.display()
    );
    let mut running = Command::new("bash")
        .args(["-euc", &format!("{first}\n{line}")])
        .env_clear()
        .env("PATH", path)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // curl draws its progress there.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut output = running.stdout.take().context("a piped output")?;
    let mut said = Vec::new();
    let reading = async {
        loop {
            let tick = ["PUBLISH", "sluice:{orders.eu}", "a tick"];
            servers.redis.command::<i64>(&tick).await?;
            let mut some = [0; 4_096];
            // Nothing yet: the next event may be the first that it sees.
            if let Ok(count) = timeout(BETWEEN_TICKS, output.read(&mut some)).await {
                match count? {
                    0 => bail!("it ended after {:?}", String::from_utf8_lossy(&said)),
                    count => said.extend_from_slice(&some[..count]),
                }
            }
            if String::from_utf8_lossy(&said).contains(expected) {
                return Ok(());
            }
        }
    };
    timeout(PATIENCE, reading).await?
}

/// docs/auth.md shows the programs that run, to the letter.
#[test]
fn the_page_shows_the_programs_that_run() -> Result<()> {
    page::compare_or_write(PROGRAMS.iter().map(|(_, source)| *source))
}
