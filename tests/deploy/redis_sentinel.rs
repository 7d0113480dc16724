//! deploy/redis/replicated.conf and sentinel.conf: a primary, two replicas, three sentinels.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    installed,
    lab::{self, Weight},
    node::NodeSettings,
    wait,
};
use tokio::process::Command;

use crate::{
    gateway,
    server::{PATIENCE, PROMISED, PROMISED_WITH_REPLICAS, Server, shipped},
    tools,
};

const REPLICATED: &str = "replicated.conf";
/// As many as may fail together leave the others in the minority.
const SENTINELS: usize = 3;
const PASSWORD: &str = "secret";

/// The error that a write is refused with; an error when it is taken.
async fn refusal(server: &Server) -> Result<String> {
    let written = server.command::<String>(&["SET", "elsewhere", "1"]).await;
    let taken = written.err().context("the write was taken")?;
    Ok(format!("{taken:#}"))
}

/// Waits until `count` replicas keep up with the primary.
pub async fn until_followed(primary: &Server, count: u32) -> Result<()> {
    wait::until(PATIENCE, "replicas keep up", async || {
        let good: u32 = primary
            .info("replication", "min_slaves_good_slaves")
            .await?
            .parse()?;
        Ok((good >= count).then_some(()))
    })
    .await
}

/// The users of the file, all with one password; the default user stays on, for the test itself.
fn users(dir: &Path) -> Result<String> {
    let lines = fs::read_to_string(shipped("users.acl"))?;
    let lines = lines.replace(" resetpass ", &format!(" >{PASSWORD} "));
    ensure!(lines.contains("user default off"));
    let lines = lines.replace("user default off", "user default on nopass ~* &* +@all");
    let path = dir.join("users.acl");
    fs::write(&path, lines)?;
    Ok(path.display().to_string())
}

/// A primary, and two replicas that keep up with it, with users.
async fn servers(dir: &Path) -> Result<[Server; 3]> {
    let users = users(dir)?;
    let with_users = [
        "--aclfile",
        &users,
        "--masteruser",
        "sluice-replica",
        "--masterauth",
        PASSWORD,
    ];
    let primary = Server::start(dir, REPLICATED, &[], &with_users).await?;
    let alone = refusal(&primary).await?;
    ensure!(alone.contains("NOREPLICAS"), "{alone}");
    let port = primary.port.to_string();
    let follow = ["--replicaof", "127.0.0.1", &port];
    let words = [&with_users[..], &follow[..]].concat();
    let replicas = [
        Server::start(dir, REPLICATED, &[], &words).await?,
        Server::start(dir, REPLICATED, &[], &words).await?,
    ];
    until_followed(&primary, 2).await?;
    let [one, other] = replicas;
    Ok([primary, one, other])
}

/// Three sentinels that know each other and the replicas.
async fn sentinels(dir: &Path, primary: &Server) -> Result<Vec<Server>> {
    let watched = format!("127.0.0.1 {} 2", primary.port);
    let mut sentinels = Vec::new();
    for _ in 0..SENTINELS {
        let changes = [
            ("127.0.0.1 6379 2", watched.as_str()),
            ("# sentinel auth-user", "sentinel auth-user"),
            ("# sentinel auth-pass", "sentinel auth-pass"),
            ("<its password>", PASSWORD),
        ];
        sentinels.push(Server::start(dir, "sentinel.conf", &changes, &[]).await?);
    }
    for sentinel in &sentinels {
        wait::until(PATIENCE, "the sentinels know all", async || {
            let known: HashMap<String, String> =
                sentinel.command(&["SENTINEL", "MASTER", "sluice"]).await?;
            let is = |name: &str, count: &str| known.get(name).is_some_and(|known| known == count);
            Ok((is("num-slaves", "2") && is("num-other-sentinels", "2")).then_some(known))
        })
        .await?;
    }
    Ok(sentinels)
}

/// The port of the primary that all sentinels name, once it is another than `old`.
async fn elected(sentinels: &[Server], old: u16) -> Result<u16> {
    wait::until(
        PATIENCE,
        "the sentinels agree on a new primary",
        async || {
            let mut named = Vec::new();
            for sentinel in sentinels {
                let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "sluice"];
                let address: Vec<String> = sentinel.command(&words).await?;
                named.push(address.get(1).context("a port")?.parse::<u16>()?);
            }
            named.dedup();
            Ok((named.len() == 1 && named[0] != old).then_some(named[0]))
        },
    )
    .await
}

/// All lines are in force; a gateway serves over the primary; when that is killed, one of the replicas takes over with all
/// events, and takes new ones; the old primary, back and alone, takes none.
#[tokio::test]
async fn the_sentinels_elect_a_primary_that_has_all_events_and_keeps_what_is_promised() {
    lab::run(Weight::Light, Duration::from_secs(180), async |lab| {
        let [mut primary, one, other] = servers(lab.dir()).await?;
        let promised = [&PROMISED[..], &PROMISED_WITH_REPLICAS[..]].concat();
        for server in [&primary, &one, &other] {
            server.keeps_its_file(&promised).await?;
        }
        let sentinels = sentinels(lab.dir(), &primary).await?;
        let node = lab
            .node("before", &primary.url(), NodeSettings::default())
            .await?;
        gateway::serves(&node, "orders").await?;
        drop(node);
        let stream = ["XRANGE", "sluice:{orders}:s", "-", "+"];
        let before: Vec<redis::Value> = primary.command(&stream).await?;
        // Replication is not waited for by Redis: the last events are on their way.
        let () = primary.command(&["WAIT", "2", "2000"]).await?;

        primary.kill().await?;
        let port = elected(&sentinels, primary.port).await?;
        let new = if port == one.port { &one } else { &other };
        ensure!(port == new.port, "a stranger was elected: {port}");
        until_followed(new, 1).await?;
        new.keeps_its_file(&promised).await?;
        let after: Vec<redis::Value> = new.command(&stream).await?;
        ensure!(
            before.len() == 5 && before == after,
            "{before:?} became {after:?}"
        );
        let node = lab
            .node("after", &new.url(), NodeSettings::default())
            .await?;
        gateway::serves(&node, "invoices").await?;

        primary.start_again().await?;
        let late = refusal(&primary).await?;
        ensure!(
            late.contains("NOREPLICAS") || late.contains("READONLY"),
            "{late}"
        );
        Ok(())
    })
    .await;
}

/// What the files say of this version: it knows one server, and says so before it binds anything.
#[tokio::test]
async fn modes_that_are_not_there_yet_are_refused_in_words() -> Result<()> {
    for mode in ["sentinel", "cluster"] {
        let mut command = Command::new(installed::built()?.join("sluice-gateway"));
        command
            .arg("--check-config")
            .env("SLUICE__AUTH__MODE", "anonymous")
            .env("SLUICE__REDIS__URL", "redis://127.0.0.1:6379")
            .env("SLUICE__REDIS__MODE", mode)
            .env("SLUICE__REDIS__SENTINEL_MASTER", "sluice");
        let ended = tools::ended(command).await?;
        ensure!(
            ended.code == Some(64) && ended.error.contains("redis.mode"),
            "{mode}: {ended:?}"
        );
    }
    Ok(())
}
