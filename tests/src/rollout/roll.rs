//! Runs a drill: starts the parts, opens the clients, keeps events flowing, and replaces node after node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::time::{sleep, sleep_until};

use crate::{
    checker::{self, Evidence as Seen, Report, Suffered},
    client::{Client, Log, Options},
    journal::Journal,
    lab::Lab,
    node::{Node, NodeSettings},
    process,
    redis::RedisServer,
    stage::{Stage, until_opened},
};

use super::{
    Drained, Evidence, Figures, Findings, Nginx, Part, Plan, Published, Sabotage, Visit,
    flow::{Flow, Moments},
    judge,
    meter::Meter,
    visits,
};

/// Clients that open at once.
const OPENING: usize = 200;
/// Beyond the drain window, for the process to end.
const ENDING: Duration = Duration::from_secs(10);
/// For clients to come back and catch up once the last node is gone.
const CATCHING_UP: Duration = Duration::from_secs(30);
/// What `Sabotage::DrainAtOnce` makes of the window.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What a drill gave: the verdicts of the checker and of the judge, and the figures.
pub struct Drill {
    pub report: Report,
    pub findings: Findings,
    pub figures: Figures,
}

impl Drill {
    /// Fails when a promise was broken, on the stream or in the roll.
    pub fn whole(&self) -> Result<()> {
        self.report.whole()?;
        self.findings.whole()
    }
}

/// When which part of the drill was.
#[derive(Clone, Debug)]
pub struct Times {
    pub begun: Instant,
    /// The first node is taken from the balancer.
    pub rolling: Instant,
    /// The last old node is gone.
    pub rolled: Instant,
    pub ended: Instant,
}

/// What the drill knows apart from the clients' logs.
pub struct Facts {
    pub times: Times,
    pub drained: Vec<Drained>,
    pub journal: Journal,
    pub moments: Moments,
    pub published: Published,
    /// What each node said of its version, by its name.
    pub versions: BTreeMap<String, String>,
    pub redis: String,
    /// Workers of the balancer in the end, those that only keep old streams among them.
    pub workers: usize,
}

/// Runs the drill of `plan`; an error means that it could not be run, not that it went badly.
pub async fn run(lab: &Lab, plan: &Plan) -> Result<Drill> {
    let redis = lab.redis().await?;
    let mut site = Site::start(lab, plan, &redis).await?;
    let stage = Stage::with(redis, Vec::new(), plan.channels)?;
    let clients = open(plan, &stage, site.balancer.front()).await?;
    let flow = Flow::begin(stage.publisher.clone(), &stage.channels, plan);

    let begun = Instant::now();
    sleep(plan.calm).await;
    let rolling = Instant::now();
    let mut drained = Vec::new();
    for n in 0..plan.nodes {
        drained.push(site.replace(n).await?);
    }
    let rolled = Instant::now();
    sleep(plan.calm).await;
    let (moments, published) = flow.stop().await?;
    let settled = stage.settle(&clients, CATCHING_UP).await;
    let ended = Instant::now();
    if plan.sabotage.is_none() {
        settled?;
    }

    let logs: Vec<Log> = clients.iter().map(|client| client.log().clone()).collect();
    let facts = Facts {
        times: Times {
            begun,
            rolling,
            rolled,
            ended,
        },
        drained,
        journal: stage.publisher.journal(),
        moments,
        published,
        versions: site.versions,
        redis: stage.redis.command::<String>(&["INFO", "server"]).await?,
        workers: process::children(site.balancer.pid()?)?.len(),
    };
    let report = checker::check(&Seen {
        published: &facts.journal.records,
        heads: &stage.heads().await?,
        clients: &logs,
        suffered: &Suffered::new(),
    });
    let visits: Vec<Vec<Visit>> = logs.iter().map(visits).collect();
    let findings = judge(&Evidence {
        clients: &visits,
        drained: &facts.drained,
        published: &facts.published,
        new: &(0..plan.nodes).map(new_name).collect::<BTreeSet<_>>(),
        lead: plan.lead,
        window: plan.window(),
    });
    let figures = Figures::of(
        plan,
        &facts,
        (&logs, &visits),
        (&report, &findings),
        &site.meter,
    )?;
    Ok(Drill {
        report,
        findings,
        figures,
    })
}

fn new_name(n: usize) -> String {
    format!("new-{n}")
}

/// The nodes, and the balancer before them.
struct Site<'a> {
    lab: &'a Lab,
    plan: &'a Plan,
    redis_url: String,
    nodes: Vec<Node>,
    versions: BTreeMap<String, String>,
    balancer: Nginx,
    meter: Meter,
}

impl<'a> Site<'a> {
    async fn start(lab: &'a Lab, plan: &'a Plan, redis: &RedisServer) -> Result<Site<'a>> {
        let mut nodes = Vec::new();
        for n in 0..plan.nodes {
            let (name, settings) = (format!("old-{n}"), settings(plan));
            let settings = settings.with("SLUICE__NODE__NAME", &name);
            let url = redis.url();
            nodes.push(match &plan.old_program {
                Some(program) => {
                    let settings = known_to(program, settings)?;
                    Node::spawn_program(program, lab.dir(), &name, &url, settings)?
                }
                None => Node::spawn(lab.dir(), &name, &url, settings)?,
            });
        }
        for node in &mut nodes {
            node.until_ready().await?;
        }
        let mut versions = BTreeMap::new();
        for node in &nodes {
            versions.insert(node.name.clone(), version(node).await?);
        }
        let knows = plan.sabotage != Some(Sabotage::BalancerNotTold);
        let behind = addresses(&nodes);
        let balancer = Nginx::start(lab.dir(), &behind, knows).await?;
        let meter = Meter::begin();
        meter.watch(Part::Redis, redis.pid()?);
        meter.watch(Part::Balancer, balancer.pid()?);
        meter.watch_children(Part::Balancer, balancer.pid()?);
        for node in &nodes {
            meter.watch(Part::Gateways, node.pid()?);
        }
        Ok(Site {
            lab,
            plan,
            redis_url: redis.url(),
            nodes,
            versions,
            balancer,
            meter,
        })
    }

    /// Replaces the oldest node by the `n`th new one and gives back how the old one went.
    async fn replace(&mut self, n: usize) -> Result<Drained> {
        let name = new_name(n);
        let named = settings(self.plan).with("SLUICE__NODE__NAME", &name);
        let node = self.lab.node(&name, &self.redis_url, named).await?;
        self.meter.watch(Part::Gateways, node.pid()?);
        self.versions.insert(name, version(&node).await?);
        let mut behind = addresses(&self.nodes);
        behind.push(node.http());
        self.balancer.point_to(&behind).await?;

        let mut old = self.nodes.remove(0);
        if let Some(program) = &self.plan.old_program {
            let another = fs::read(executable(&old)?)? != fs::read(executable(&node)?)?;
            let program = program.display();
            ensure!(
                another,
                "{program} is the new version itself: nothing would be replaced"
            );
        }
        self.nodes.push(node);
        let deleted = tokio::time::Instant::now();
        if self.plan.sabotage != Some(Sabotage::BalancerNotTold) {
            self.balancer.point_to(&addresses(&self.nodes)).await?;
        }
        sleep_until(deleted + self.plan.pre_stop).await;
        let streams = old.metrics().await?.total("sluice_connections");
        let told = Instant::now();
        old.terminate()?;
        let status = old.until_ended(self.plan.deadline + ENDING).await?;
        ensure!(status.success(), "{} ended with {status}", old.name);
        Ok(Drained {
            node: old.name.clone(),
            told,
            ended: Instant::now(),
            streams: streams as usize,
        })
    }
}

/// What it says of its version, and of the commit.
async fn version(node: &Node) -> Result<String> {
    let metrics = node.metrics().await?;
    let told = |label| {
        let told = metrics.label("sluice_build_info", label);
        told.unwrap_or("not told").to_owned()
    };
    Ok(format!("{} ({})", told("version"), told("commit")))
}

/// The program that its process runs.
fn executable(node: &Node) -> Result<PathBuf> {
    Ok(format!("/proc/{}/exe", node.pid()?).into())
}

fn addresses(nodes: &[Node]) -> Vec<SocketAddr> {
    nodes.iter().map(Node::http).collect()
}

fn settings(plan: &Plan) -> NodeSettings {
    let (deadline, lead) = match plan.sabotage {
        Some(Sabotage::DrainAtOnce) => (AT_ONCE, AT_ONCE / 2),
        Some(Sabotage::ForgottenPlaces | Sabotage::IdlePublisher | Sabotage::BalancerNotTold)
        | None => (plan.deadline, plan.lead),
    };
    let text = |time: Duration| format!("{}ms", time.as_millis());
    NodeSettings::default()
        .with("SLUICE__DRAIN__DEADLINE", text(deadline))
        .with("SLUICE__DRAIN__READINESS_LEAD", text(lead))
}

/// What of these settings an older program knows: a setting it does not know stops its start.
fn known_to(program: &Path, settings: NodeSettings) -> Result<NodeSettings> {
    const CANARY: &str = "SLUICE__CANARY__ENABLED";
    let mut check = Command::new(program);
    check.args(["--dev", "--check-config"]).env(CANARY, "false");
    let check = check.stdin(Stdio::null()).output();
    let check = check.with_context(|| program.display().to_string())?;
    Ok(match check.status.success() {
        true => settings,
        false => settings.without(CANARY),
    })
}

async fn open(plan: &Plan, stage: &Stage, front: SocketAddr) -> Result<Vec<Client>> {
    let mut clients: Vec<Client> = Vec::with_capacity(plan.clients);
    while clients.len() < plan.clients {
        let from = clients.len();
        let to = plan.clients.min(from + OPENING);
        clients.extend((from..to).map(|n| {
            let options = Options {
                // They wait as long as they are told.
                retry_cap: Duration::MAX,
                forgets_its_place: plan.sabotage == Some(Sabotage::ForgottenPlaces),
                ..Options::new(&[&stage.channels[n % stage.channels.len()]], &[front], 0)
            };
            Client::start(format!("c{n}"), options)
        }));
        until_opened(&clients[from..]).await?;
    }
    Ok(clients)
}
