//! The images of deploy/docker, really built and really run from their own root, where nothing is but what they bring.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sluice_e2e::{
    client::{Client, End, Options},
    http, installed,
    lab::{self, Weight},
    process::{self, Signal},
    wait,
};
use tokio::{process::Child, time::timeout};

use crate::{
    rootfs::{Container, Image, programs},
    tools::{root_is_read_only, run},
    trust::{NAME, NameServer, Trust, machine_bundle},
    units::default_seconds,
};

const LIMIT: Duration = Duration::from_secs(240);
const PATIENCE: Duration = Duration::from_secs(20);
/// The most bytes of an image with programs of the release profile.
const MOST_BYTES: [(&str, u64); 2] = [("gateway", 24 << 20), ("cli", 16 << 20)];
const USER: u32 = 65_532;

fn dockerfile() -> Result<String> {
    Ok(fs::read_to_string(
        installed::root().join("deploy/docker/Dockerfile"),
    )?)
}

/// Nothing is in an image but its program, the authorities and the licence; its configuration is what docs/install.md says.
#[tokio::test]
#[ignore = "needs buildah and static programs: scripts/image-test builds them and runs this"]
async fn an_image_is_its_program_and_nothing_else() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        for (target, program) in [("gateway", "/sluice-gateway"), ("cli", "/sluice")] {
            let dir = lab.dir().join(target);
            let image = Image::build(&dir, target, &machine_bundle()?).await?;
            let files = image.files()?;
            let names: BTreeSet<&str> = files.keys().map(String::as_str).collect();
            let wanted = ["/LICENSE", "/etc/ssl/certs/ca-certificates.crt", program];
            ensure!(names == wanted.into(), "{target} has {names:?}");
            let (mode, _) = files[program];
            ensure!(mode & 0o7777 == 0o555, "{program} has the mode {mode:o}");
            let bytes: u64 = files.values().map(|(_, bytes)| bytes).sum();
            println!(
                "{target}: {program} {} bytes, in all {bytes}",
                files[program].1
            );
            if programs()?.ends_with("release") {
                let most = MOST_BYTES.iter().find(|(name, _)| *name == target);
                ensure!(
                    most.is_some_and(|(_, most)| bytes <= *most),
                    "{target} has {bytes} bytes"
                );
            }
            configured(&image, target, program)?;
            if target == "gateway" {
                let container = image.container(lab.dir(), "version", "127.0.0.1")?;
                let said = container.run(&[program, "--version"]).await?.output()?;
                let commit = said.trim_end().strip_suffix(')').context(said.clone())?;
                let (_, commit) = commit.split_once(" (").context("a commit")?;
                ensure!(
                    commit.starts_with(|one: char| one.is_ascii_hexdigit()),
                    "{said}"
                );
            }
        }
        Ok(())
    })
    .await;
}

fn configured(image: &Image, target: &str, program: &str) -> Result<()> {
    let config = &image.config;
    ensure!(config["User"] == "65532:65532", "{config}");
    ensure!(
        config["Entrypoint"] == json!([program]) && image.list("Cmd").is_empty(),
        "{config}"
    );
    let labels = &config["Labels"];
    let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].clone();
    ensure!(
        label("licenses") == "Apache-2.0" && label("version") == env!("CARGO_PKG_VERSION"),
        "{labels}"
    );
    ensure!(
        label("title").is_string() && label("description").is_string(),
        "{labels}"
    );
    ensure!(label("revision") == "0123abc", "{labels}");
    let check = &config["Healthcheck"]["Test"];
    if target == "cli" {
        ensure!(
            *check == json!(["NONE"]) && !config["ExposedPorts"].to_string().contains("tcp"),
            "{config}"
        );
        return Ok(());
    }
    ensure!(
        *check == json!(["CMD", program, "--healthcheck"]),
        "{config}"
    );
    ensure!(config["StopSignal"] == "SIGTERM", "{config}");
    let ports = config["ExposedPorts"].as_object().context("ports")?;
    ensure!(ports.keys().eq(["8080/tcp", "9090/tcp"]), "{ports:?}");
    let env = image.list("Env");
    for bind in [
        "SLUICE__HTTP__BIND=0.0.0.0:8080",
        "SLUICE__ADMIN__BIND=0.0.0.0:9090",
    ] {
        ensure!(env.iter().any(|one| one == bind), "{env:?} lacks {bind}");
    }
    Ok(())
}

/// A gateway's container, with its ports in place of the image's: the loopback is shared with the tests here.
struct Running {
    container: Container,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    fn new(
        image: &Image,
        dir: &Path,
        name: &str,
        dns: &NameServer,
        redis: &str,
    ) -> Result<Running> {
        let mut container = image.container(dir, name, &dns.addr.to_string())?;
        let port = || Ok::<_, anyhow::Error>(SocketAddr::from(([127, 0, 0, 1], lab::free_port()?)));
        let (http, admin) = (port()?, port()?);
        container
            .environment
            .retain(|one| !one.starts_with("SLUICE__"));
        container.environment.extend([
            format!("SLUICE__HTTP__BIND={http}"),
            format!("SLUICE__ADMIN__BIND={admin}"),
            format!("SLUICE__REDIS__URL={redis}"),
            "SLUICE__AUTH__MODE=anonymous".to_owned(),
            "SLUICE__DRAIN__DEADLINE=3s".to_owned(),
        ]);
        Ok(Running {
            container,
            http,
            admin,
        })
    }

    async fn is_ready(&self) -> bool {
        http::get(self.admin, "/readyz")
            .await
            .is_ok_and(|answer| answer.head.status == 200)
    }

    /// What the image's own healthcheck ends with.
    async fn health(&self, image: &Image) -> Result<Option<i32>> {
        let check = image.config["Healthcheck"]["Test"]
            .as_array()
            .context("a healthcheck")?;
        let words: Vec<&str> = check
            .iter()
            .skip(1)
            .filter_map(|word| word.as_str())
            .collect();
        Ok(self.container.run(&words).await?.code)
    }
}

/// What the kernel says of the process: nobody's user, no rights, a root that cannot be written.
fn is_confined(pid: u32) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let has = |name: &str, value: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.is_some_and(|line| line.split_whitespace().skip(1).all(|word| word == value))
    };
    let user = USER.to_string();
    ensure!(has("Uid:", &user) && has("Gid:", &user), "{status}");
    ensure!(
        has("CapEff:", "0000000000000000") && has("NoNewPrivs:", "1"),
        "{status}"
    );
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    ensure!(root_is_read_only(&mounts), "{mounts}");
    Ok(())
}

/// SIGTERM during a stream: it is told, and the program ends in order.
async fn drains(node: &Running, mut child: Child, pid: u32) -> Result<()> {
    let client = Client::start("c".to_owned(), Options::new(&["orders"], &[node.http], 0));
    let opened = || {
        client
            .log()
            .blocks()
            .any(|block| block.event == "sluice.open")
    };
    wait::until_true(PATIENCE, "the stream is open", opened).await?;
    process::send(pid, Signal::Terminate)?;
    let status = timeout(PATIENCE, child.wait())
        .await
        .context("it did not end")??;
    ensure!(status.success(), "{status}: {}", node.container.said());
    let told = || {
        let log = client.log();
        let closed = log
            .blocks()
            .any(|block| block.event == "sluice.close" && block.data.contains("drain"));
        closed
            && log
                .seen
                .iter()
                .any(|(_, seen)| seen.ended() == Some(&End::Complete))
    };
    wait::until_true(PATIENCE, "the stream was drained", told).await
}

/// From an empty root, as nobody: the gateway finds Redis by a name that only a name server knows, trusts its certificate by the
/// bundle of the image, serves what the image of `sluice` publishes, is found healthy by its own healthcheck, and drains.
#[tokio::test]
#[ignore = "needs buildah and static programs: scripts/image-test builds them and runs this"]
async fn the_images_serve_from_an_empty_root_and_drain() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let trust = Trust::new(lab.dir()).await?;
        let (_redis, port) = trust.redis().await?;
        let dns = NameServer::start().await?;
        let url = format!("rediss://{NAME}:{port}");
        let image = Image::build(&lab.dir().join("gateway"), "gateway", &trust.bundle()?).await?;
        let cli = Image::build(&lab.dir().join("cli"), "cli", &trust.bundle()?).await?;
        let node = Running::new(&image, lab.dir(), "node", &dns, &url)?;
        ensure!(
            node.health(&image).await? == Some(1),
            "healthy before it runs"
        );
        let (child, pid) = node.container.start(&["/sluice-gateway"]).await?;
        let ready = wait::until(PATIENCE, "the gateway is ready", async || {
            Ok(node.is_ready().await.then_some(()))
        });
        ready.await.with_context(|| node.container.said())?;
        is_confined(pid)?;
        ensure!(
            node.health(&image).await? == Some(0),
            "the healthcheck does not find it"
        );

        let sluice = cli.container(lab.dir(), "sluice", &dns.addr.to_string())?;
        let local = format!("rediss://localhost:{port}");
        let publish = ["/sluice", "publish", "orders", "one", "--redis", &local];
        sluice.run(&publish).await?.output()?;
        let gateway = format!("http://localhost:{}", node.http.port());
        let tail = [
            "/sluice",
            "tail",
            "orders",
            "--last",
            "9",
            "--count",
            "1",
            "--gateway",
            &gateway,
        ];
        let read = sluice.run(&tail).await?.output()?;
        ensure!(read == "one\n", "{read:?}");

        drains(&node, child, pid).await?;
        ensure!(
            node.health(&image).await? == Some(1),
            "healthy after its end"
        );
        Ok(())
    })
    .await;
}

/// Were trust or names not what the image and its surroundings give, the gateway would not reach Redis.
#[tokio::test]
#[ignore = "needs buildah and static programs: scripts/image-test builds them and runs this"]
async fn an_image_trusts_its_own_bundle_alone_and_names_come_from_the_name_server() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let trust = Trust::new(lab.dir()).await?;
        let (_redis, port) = trust.redis().await?;
        let dns = NameServer::start().await?;
        let image = Image::build(&lab.dir().join("gateway"), "gateway", &machine_bundle()?).await?;
        let unknown = format!("rediss://elsewhere.sluice.test:{port}");
        for (name, url, complaint) in [
            ("stranger", format!("rediss://{NAME}:{port}"), "certificate"),
            ("nameless", unknown, "lookup address"),
        ] {
            let node = Running::new(&image, lab.dir(), name, &dns, &url)?;
            let (child, pid) = node.container.start(&["/sluice-gateway"]).await?;
            let complains = || node.container.said().contains(complaint);
            let heard = wait::until_true(PATIENCE, "the gateway complains", complains).await;
            heard.with_context(|| format!("{name}: {}", node.container.said()))?;
            ensure!(!node.is_ready().await, "{name} is ready");
            ensure!(
                node.health(&image).await? == Some(0),
                "liveness is about the process alone"
            );
            // As when a test fails: nothing is left running.
            drop(child);
            let ended = || !Path::new(&format!("/proc/{pid}")).exists();
            wait::until_true(PATIENCE, "the container ends with its test", ended).await?;
        }
        Ok(())
    })
    .await;
}

/// Each member of the workspace has its manifest in the layer of dependencies, and the workspace with empty sources can be built;
/// the toolchain is that of the repository.
#[tokio::test]
async fn the_layer_of_dependencies_has_the_whole_workspace() -> Result<()> {
    let (text, lab) = (dockerfile()?, lab::Lab::new()?);
    let manifest = fs::read_to_string(installed::root().join("Cargo.toml"))?;
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = ["))
        .context("members")?;
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    ensure!(
        text.contains(&format!("for member in {}; do", members.join(" "))),
        "{members:?}"
    );
    for member in &members {
        ensure!(
            text.contains(&format!("COPY {member}/Cargo.toml {member}/\n")),
            "{member} is not copied"
        );
        let to = lab.dir().join(member).join("src");
        fs::create_dir_all(&to)?;
        fs::write(to.join("lib.rs"), "")?;
        let file = format!("{member}/Cargo.toml");
        fs::copy(installed::root().join(&file), lab.dir().join(&file))?;
    }
    for file in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(installed::root().join(file), lab.dir().join(file))?;
    }
    for member in ["gateway", "publisher-cli"] {
        fs::write(lab.dir().join(member).join("src/main.rs"), "fn main() {}")?;
    }
    let manifest = lab.dir().join("Cargo.toml").display().to_string();
    let words = [
        "metadata",
        "--locked",
        "--offline",
        "--format-version",
        "1",
        "--manifest-path",
        &manifest,
    ];
    run("cargo", &words).await?;
    let channel = fs::read_to_string(installed::root().join("rust-toolchain.toml"))?;
    let channel = channel
        .lines()
        .find_map(|line| line.strip_prefix("channel = \""))
        .context("a channel")?;
    ensure!(text.contains(&format!("ARG RUST={}\n", channel.trim_end_matches('"'))));
    let (build, _) = text.split_once("\nFROM scratch").context("stages")?;
    ensure!(
        build.contains("\nARG REVISION=unknown\n")
            && build.contains(" && SLUICE_COMMIT=$(printf %.12s \"${REVISION}\") cargo build "),
        "the program is not told the revision that the labels have"
    );
    ensure!(
        default_seconds("deadline")? == 30,
        "the Dockerfile says that a drain lasts up to 30 s"
    );
    Ok(())
}
