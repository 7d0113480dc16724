//! `make run`, `make demo` and the demo's backend work as they say: started as people start them, with free ports, tried with
//! the very lines they print, and ended by Ctrl-C with nothing left behind.

mod backend;
mod nginx;
mod outputs;
mod play;

use std::{net::TcpListener, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::{
    client::{Client, Options, Seen},
    http,
    lab::{self, Weight},
    redis, wait,
};

use play::{PATIENCE, Play, free_ports, shell};

/// The channels on which a page shows something without being asked to.
const TOLD: [&str; 5] = [
    "demo.likes",
    "demo.prices",
    "demo.notices",
    "demo.jobs",
    "demo.log",
];

/// Each of the demo's channels tells what the page expects of it.
async fn until_all_is_told(page: std::net::SocketAddr) -> Result<()> {
    let reader = Client::start("page", Options::new(&TOLD, &[page], 0));
    wait::until(PATIENCE, "each channel has told something", async || {
        let log = reader.log();
        let said = |channel: &str, event: &str, members: &[&str]| {
            log.events().any(|block| {
                let Ok(envelope) = serde_json::from_str::<Value>(&block.data) else {
                    return false;
                };
                let data = envelope["data"].as_str().unwrap_or_default();
                let data: Value = serde_json::from_str(data).unwrap_or_default();
                envelope["channel"] == channel
                    && block.event == event
                    && members.iter().all(|member| !data[*member].is_null())
            })
        };
        let all = said("demo.prices", "price", &["symbol", "price", "at"])
            && said("demo.notices", "notice", &["title", "text", "level"])
            && said("demo.jobs", "progress", &["job", "name", "done", "of"])
            && said("demo.log", "line", &["level", "text", "at"]);
        Ok(all.then_some(()))
    })
    .await
}

/// `make run`: the page is there, its backend works, and Ctrl-C ends both.
#[tokio::test]
async fn make_run_plays_the_page_and_leaves_nothing_behind() {
    lab::run(Weight::Light, Duration::from_secs(40), async |lab| {
        let [http, admin] = free_ports()?;
        let bind = |port| format!("127.0.0.1:{port}");
        let settings = [
            ("SLUICE__HTTP__BIND", bind(http)),
            ("SLUICE__ADMIN__BIND", bind(admin)),
        ];
        let play = Play::start("run", lab, &settings)?;
        play.until_printed("Ctrl-C ends it.").await?;
        let page = bind(http).parse()?;
        let answer = http::get(page, "/").await?;
        ensure!(answer.head.status == 200 && answer.body.contains("<html"));
        until_all_is_told(page).await?;

        backend::answers_a_question(page, "demo.answer.one").await?;
        for _ in 0..3 {
            backend::ask(page, "like", "{}").await?;
        }
        backend::until_likes(page, 3).await?;
        // Killed, missed a like, and started again by the line that is printed then.
        play.kill("sluice demo").await?;
        backend::ask(page, "like", "{}").await?;
        play.until_printed("the demo backend has ended by SIGKILL")
            .await?;
        let again = play.line_after("Start it again: ")?;
        let _backend = play::in_background(&again)?;
        backend::until_likes(page, 4).await?;
        drop(_backend);
        play.ends_on_ctrl_c().await
    })
    .await;
}

/// `make demo`: what it prints works as printed, and readers behind nginx miss nothing whatever happens to the nodes.
#[tokio::test]
async fn make_demo_survives_its_nodes_and_leaves_nothing_behind() {
    lab::run(Weight::Heavy, Duration::from_secs(50), async |lab| {
        let [port, tls_port, redis_port, n1, n2, n3, a1, a2, a3] = free_ports()?;
        let settings = [
            ("DEMO_PORT", port.to_string()),
            ("DEMO_TLS_PORT", tls_port.to_string()),
            ("DEMO_REDIS_PORT", redis_port.to_string()),
            ("DEMO_NODE_PORTS", format!("{n1} {n2} {n3}")),
            ("DEMO_ADMIN_PORTS", format!("{a1} {a2} {a3}")),
            ("TLS", "1".to_owned()),
        ];
        let mut play = Play::start("demo", lab, &settings)?;
        play.until_printed("Ctrl-C ends all of it.").await?;
        let page = format!("127.0.0.1:{port}").parse()?;
        let answer = http::get(page, "/").await?;
        ensure!(answer.head.status == 200 && answer.body.contains("<html"));
        let tls = format!("curl -sk -o /dev/null -w '%{{http_code}} %{{http_version}}' https://127.0.0.1:{tls_port}/");
        ensure!(shell(&tls).await? == "200 2", "over TLS");

        let prices = Client::start("prices", Options::new(&["demo.prices"], &[page], 0));
        let notices = Client::start("notices", Options::new(&["demo.notices"], &[page], 0));
        wait::until_true(PATIENCE, "both are open", || prices.opened() && notices.opened()).await?;
        printed_lines_work(&play, &notices).await?;
        backend::answers_a_question(page, "demo.answer.two").await?;

        kill_the_node_of(&play, &prices).await?;
        events_go_on(&prices).await?;
        all_nodes_away_and_back(&mut play, &prices).await?;

        let url = format!("redis://127.0.0.1:{redis_port}");
        nothing_is_missing(&url, &prices).await?;
        let folder = play.line_after("Logs are in ")?;
        let folder = folder.split("/logs").next().unwrap_or_default().to_owned();
        ensure!(std::path::Path::new(&folder).is_dir(), "{folder}");
        play.ends_on_ctrl_c().await?;
        ensure!(!std::path::Path::new(&folder).exists(), "{folder} is left");
        Ok(())
    })
    .await;
}

/// The lines under "as they stand" are typed: the two that publish are heard, the one that tails shows prices.
async fn printed_lines_work(play: &Play, notices: &Client) -> Result<()> {
    let lines = play.lines()?;
    let printed = |program: &str| {
        let mut found = lines.iter().filter(|line| line.contains(program));
        found
            .next()
            .with_context(|| format!("no line with {program}"))
    };
    shell(printed("redis-cli ")?).await?;
    shell(printed("sluice publish ")?).await?;
    wait::until(PATIENCE, "both notices have come", async || {
        let log = notices.log();
        let by_hand = log
            .events()
            .filter(|block| block.data.contains("published by hand"));
        Ok((by_hand.count() == 2).then_some(()))
    })
    .await?;
    let tail = format!("timeout 10 {} --count 5", printed("sluice tail ")?);
    let shown = shell(&tail).await?;
    ensure!(shown.matches("\"price\":").count() == 5, "{shown}");
    let curl = format!("timeout 2 {} || true", printed("curl -N ")?);
    ensure!(shell(&curl).await?.contains("event: sluice.open"), "curl");
    Ok(())
}

/// Kills the node that serves the reader, by the line that is printed for it.
async fn kill_the_node_of(play: &Play, reader: &Client) -> Result<()> {
    let node = {
        let log = reader.log();
        let open = log
            .controls("sluice.open")
            .last()
            .context("an open stream")?;
        let open: Value = serde_json::from_str(&open.data)?;
        open["node"].as_str().unwrap_or_default().to_owned()
    };
    let (_, pid) = node
        .rsplit_once(':')
        .context("a node's name ends with its pid")?;
    let kill = format!("kill -9 {pid} ");
    let lines = play.lines()?;
    let line = lines.iter().find(|line| line.starts_with(&kill));
    shell(line.with_context(|| format!("no line to kill {node}"))?).await?;
    play.until_printed("has ended by SIGKILL").await
}

/// The reader is connected anew and hears something new.
async fn events_go_on(reader: &Client) -> Result<()> {
    wait::until_true(PATIENCE, "events go on", || {
        let log = reader.log();
        let ended = log
            .seen
            .iter()
            .rposition(|(_, seen)| seen.ended().is_some());
        let after = log.seen.iter().skip(ended.map_or(usize::MAX, |at| at + 1));
        after
            .filter_map(|(_, seen)| seen.block())
            .any(|block| block.event == "price")
    })
    .await
}

/// While no node is there: a place that could be no cursor is not put on the stream, and brings no block that would erase it;
/// and whoever can read a status gets one.
async fn strange_callers_are_answered(page: std::net::SocketAddr) -> Result<()> {
    let curl = format!("curl -s 'http://{page}/v1/events?channel=demo.prices'");
    let strange =
        format!("{curl} -H 'Accept: text/event-stream' -H 'Last-Event-ID: 1-0.a data: x'");
    let answer = shell(&strange).await?;
    let wait = answer
        .strip_prefix("retry: ")
        .and_then(|rest| rest.strip_suffix('\n'));
    ensure!(
        wait.is_some_and(|wait| wait.parse::<u32>().is_ok()),
        "{answer:?}"
    );
    let other = shell(&format!(
        "{curl} -o /dev/null -w '%{{http_code}} %header{{retry-after}}'"
    ))
    .await?;
    ensure!(other.starts_with("503 "), "{other}");
    Ok(())
}

/// Every node is killed and started again as printed. Meanwhile nginx tells the reader to come back and leaves its place alone.
async fn all_nodes_away_and_back(play: &mut Play, reader: &Client) -> Result<()> {
    for line in play
        .lines()?
        .iter()
        .filter(|line| line.starts_with("kill -9 "))
    {
        // One of them is gone already.
        shell(&format!("{line}\ntrue")).await?;
    }
    play.until_printed("No node is left").await?;
    let close = |reader: &Client| {
        let log = reader.log();
        let close = log.controls("sluice.close").last()?;
        Some((close.data.clone(), close.last_event_id.clone()))
    };
    let told = wait::until(PATIENCE, "nginx says that nobody is there", async || {
        Ok(close(reader))
    })
    .await?;
    ensure!(told.0 == r#"{"reason":"unavailable"}"#, "{told:?}");
    let place = {
        let log = reader.log();
        log.events()
            .last()
            .context("an event")?
            .last_event_id
            .clone()
    };
    ensure!(
        told.1 == place && !place.is_empty(),
        "{told:?} after {place}"
    );
    let page = {
        let log = reader.log();
        let asked = log.seen.iter().find_map(|(_, seen)| seen.asked());
        asked.context("a page")?
    };
    strange_callers_are_answered(page).await?;
    for line in play.all_lines_after("Start it again: ")? {
        play.keep(play::in_background(&line)?);
    }
    events_go_on(reader).await
}

/// What the reader has seen is one unbroken run of what Redis keeps; it was never refused and never told of a gap.
async fn nothing_is_missing(redis_url: &str, reader: &Client) -> Result<()> {
    let mut connection = redis::connect(redis_url).await?;
    let mut range = ::redis::cmd("XRANGE");
    range.arg("sluice:{demo.prices}:s").arg("-").arg("+");
    let kept: Vec<(String, Vec<String>)> = range.query_async(&mut connection).await?;
    let log = reader.log();
    let is_refusal = |seen: &Seen| matches!(seen, Seen::Refused(_) | Seen::EmptyBlock);
    ensure!(
        !log.seen.iter().any(|(_, seen)| is_refusal(seen)),
        "refused"
    );
    ensure!(log.controls("sluice.reset").count() == 0, "a reset");
    let id = |position: &str| position.split('.').next().unwrap_or_default().to_owned();
    let seen: Vec<String> = log.events().map(|block| id(&block.last_event_id)).collect();
    let first = seen.first().context("no price at all")?;
    let kept: Vec<String> = kept.into_iter().map(|(id, _)| id).collect();
    let begin = kept
        .iter()
        .position(|id| id == first)
        .context("the first is kept")?;
    let expected = &kept[begin..kept.len().min(begin + seen.len())];
    ensure!(seen == expected, "seen {seen:?}\nkept {expected:?}");
    ensure!(
        kept.len() - begin <= seen.len() + 3,
        "the last ones have not come"
    );
    Ok(())
}

/// A port that is taken is told in words, and nothing is started.
#[tokio::test]
async fn a_taken_port_is_told() {
    lab::run(Weight::Light, Duration::from_secs(20), async |lab| {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?;
        let [admin] = free_ports()?;
        let run = [
            ("SLUICE__HTTP__BIND", address.to_string()),
            ("SLUICE__ADMIN__BIND", format!("127.0.0.1:{admin}")),
        ];
        let demo = [("DEMO_PORT", address.port().to_string())];
        for (target, settings) in [("run", &run[..]), ("demo", &demo[..])] {
            let mut play = Play::start(target, lab, settings)?;
            let status = play.until_ended().await?;
            let said = play.output()?;
            ensure!(!status.success(), "{target} {status}");
            let taken = format!("port {}, for ", address.port());
            ensure!(said.contains(&taken) && said.contains("is taken"), "{said}");
            ensure!(said.contains(&format!("make {target}")), "{said}");
        }
        Ok(())
    })
    .await;
}

/// When one part does not start, it is named, its log is shown, and the others are ended.
#[tokio::test]
async fn a_part_that_does_not_start_is_named_and_the_rest_is_ended() {
    lab::run(Weight::Light, Duration::from_secs(20), async |lab| {
        let [port, redis_port] = free_ports()?;
        let settings = [
            ("DEMO_PORT", port.to_string()),
            ("DEMO_REDIS_PORT", redis_port.to_string()),
            ("SLUICE__STREAM__HEARTBEAT", "sometimes".to_owned()),
        ];
        let mut play = Play::start("demo", lab, &settings)?;
        let status = play.until_ended().await?;
        let said = play.output()?;
        ensure!(!status.success(), "{status}");
        ensure!(
            said.contains("node 1 has ended instead of starting"),
            "{said}"
        );
        ensure!(said.contains("stream.heartbeat"), "{said}");
        ensure!(
            TcpListener::bind(("127.0.0.1", redis_port)).is_ok(),
            "redis is left"
        );
        Ok(())
    })
    .await;
}
