//! What the dashboards are shown: nodes under load, and one fault after the other. Each asserts that it took effect.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::{Client, Options},
    http,
    lab::Lab,
    node::{Node, NodeSettings},
    proxy::{Mode, Proxy},
    publisher::Publisher,
    redis::RedisServer,
    stage::{PATIENCE, until_metric, until_opened},
    wait,
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{prometheus::Prometheus, strangers};

const PLACES: usize = 24;
const READERS: usize = 18;
const CHANNELS: usize = 4;
const PACE: Duration = Duration::from_millis(5);
const HTTP_PACE: Duration = Duration::from_millis(100);
/// A channel that the publisher alone writes to, for what needs quiet.
const TRIMMED: &str = "quiet.trimmed";
const LOST: &str = "quiet.lost";
const SLOW: &str = "slow";
/// More than an event may have.
const OVER_A_LIMIT: usize = 70 * 1024;
const BIG: usize = 48 * 1024;
const MOST_BIG: usize = 2000;
/// Begins as an event does, and is none.
const MALFORMED: &str = "sluice/1 nowhere";
const SECRET: &str = "a secret of the dashboards, of 32 bytes and more";

/// The parts; load goes on until it is dropped.
pub struct Play {
    redis: RedisServer,
    proxy: Proxy,
    pub nodes: Vec<Node>,
    publisher: Publisher,
    _readers: Vec<Client>,
    _load: JoinSet<Result<()>>,
}

fn settings() -> NodeSettings {
    NodeSettings::default()
        .with("SLUICE__CANARY__ENABLED", "true")
        .with("SLUICE__CANARY__INTERVAL", "1s")
        .with("SLUICE__LIMITS__CONNECTIONS", PLACES.to_string())
        .with("SLUICE__LIMITS__RING_EVENTS", "64")
        .with("SLUICE__STREAM__SEND_BUFFER", "4KiB")
        .with("SLUICE__STREAM__SLOW_CONSUMER_AGE", "1s")
        .with("SLUICE__STREAM__HEARTBEAT", "1s")
        .with("SLUICE__REDIS__RESPONSE_TIMEOUT", "1s")
        .with("SLUICE__REDIS__LINGER", "0s")
        .with("SLUICE__REDIS__REPORT_INTERVAL", "1s")
        .with("SLUICE__DRAIN__DEADLINE", "6s")
}

impl Play {
    /// Two nodes that anybody may use and one that wants tokens, all behind a fault proxy; a Prometheus that watches them;
    /// readers, and events from Redis and over HTTP.
    pub async fn begin(lab: &Lab) -> Result<(Play, Prometheus)> {
        let redis = lab.redis().await?;
        let proxy = lab.proxy(&redis).await?;
        let mut nodes = lab.nodes(2, &proxy.redis_url(), &settings()).await?;
        let guarded = settings()
            .with("SLUICE__AUTH__MODE", "jwt")
            .with("SLUICE__AUTH__JWT__SECRET", SECRET)
            .with("SLUICE__HTTP__HEAD_TIMEOUT", "1s")
            .with("SLUICE__LIMITS__ATTEMPTS_PER_IP_PER_SECOND", "5");
        nodes.push(lab.node("n2", &proxy.redis_url(), guarded).await?);
        let prometheus = Prometheus::start(lab.dir(), &nodes).await?;

        wait::until(PATIENCE, "all are scraped", async || {
            Ok((!prometheus.now("sum(up) == 3").await?.is_empty()).then_some(()))
        })
        .await?;

        let publisher = Publisher::new(&redis)?;
        let channels: Vec<String> = (0..CHANNELS).map(|n| format!("room.{n}")).collect();
        let readers = readers(&nodes[..2], &channels).await?;
        let mut load = JoinSet::new();
        let (flow, flowing) = (publisher.clone(), channels.clone());
        load.spawn(async move {
            let mut ticks = ticks(PACE);
            for channel in flowing.iter().cycle() {
                ticks.tick().await;
                flow.publish(channel).await?;
            }
            Ok(())
        });
        let addr = nodes[0].http();
        load.spawn(async move {
            let mut ticks = ticks(HTTP_PACE);
            loop {
                ticks.tick().await;
                // While Redis is away it is refused, which is what one wants to see.
                drop(http::post(addr, "/v1/channels/http/events", "", "{}").await);
            }
        });
        let play = Play {
            redis,
            proxy,
            nodes,
            publisher,
            _readers: readers,
            _load: load,
        };
        Ok((play, prometheus))
    }

    /// Everything that can go wrong, once.
    pub async fn all_faults(&mut self, prometheus: &Prometheus) -> Result<()> {
        self.callers_are_turned_away().await?;
        self.sockets_ask_for_nothing().await?;
        self.a_publisher_breaks_the_format().await?;
        self.histories_are_lost().await?;
        self.a_reader_does_not_read().await?;
        self.messages_are_lost().await?;
        self.subscribers_are_killed().await?;
        self.redis_is_frozen(prometheus).await?;
        self.a_node_is_full().await?;
        self.a_node_is_drained().await
    }

    async fn grows(&self, node: usize, metric: &str, label: &str, value: &str) -> Result<()> {
        let node = &self.nodes[node];
        let what = format!("{metric}{{{label}={value}}} of {} grows", node.name);
        wait::until(PATIENCE, &what, async || {
            let count = node.metrics().await?.labelled(metric, label, value);
            Ok((count > 0.0).then_some(()))
        })
        .await
    }

    /// Without tokens, with bad ones, too often, and with requests that make no sense.
    async fn callers_are_turned_away(&self) -> Result<()> {
        let (open, guarded) = (self.nodes[0].http(), self.nodes[2].http());
        let answer = http::get(open, "/v1/events?channel=").await?;
        ensure!(
            answer.head.status == 400,
            "no channel: {}",
            answer.head.status
        );
        for (header, code) in [
            ("", "token_missing"),
            ("Authorization: Bearer a.b.c\r\n", "invalid_token"),
        ] {
            let answer = http::post(guarded, "/v1/channels/room.0/events", header, "{}").await?;
            ensure!(answer.head.status == 401, "{code}: {}", answer.head.status);
            self.grows(2, "sluice_auth_failures_total", "code", code)
                .await?;
        }
        for _ in 0..40 {
            http::get(guarded, "/v1/events?channel=room.0").await?;
        }
        self.grows(2, "sluice_limit_hits_total", "limit", "attempts_per_ip")
            .await?;
        self.grows(
            2,
            "sluice_connections_rejected_total",
            "reason",
            "unauthorized",
        )
        .await?;
        let big = "x".repeat(OVER_A_LIMIT);
        let refused = http::post(open, "/v1/channels/http/events", "", &big).await?;
        ensure!(refused.head.status == 413, "{}", refused.head.status);
        let hidden = http::post(open, "/v1/channels/_hidden/events", "", "{}").await?;
        ensure!(
            hidden.head.status >= 400,
            "a reserved channel: {}",
            hidden.head.status
        );
        Ok(())
    }

    /// One says nothing at all, and one half of a head.
    async fn sockets_ask_for_nothing(&self) -> Result<()> {
        let addr = self.nodes[2].http();
        let (silent, half) = tokio::join!(
            strangers::answer_to(addr, b""),
            strangers::answer_to(addr, b"GET /v1/ev")
        );
        let (silent, half) = (silent?, half?);
        ensure!(silent.is_empty(), "silence is answered with {silent}");
        ensure!(
            half.starts_with("HTTP/1.1 408 "),
            "half a head is answered with {half}"
        );
        for cause in ["silent", "head_timeout"] {
            self.grows(2, "sluice_transport_ended_total", "cause", cause)
                .await?;
        }
        Ok(())
    }

    /// Something other than an event comes on the topic of a channel that has readers.
    async fn a_publisher_breaks_the_format(&self) -> Result<()> {
        let topic = self.publisher.topic("room.0")?;
        let heard: u64 = self.redis.command(&["PUBLISH", &topic, MALFORMED]).await?;
        ensure!(heard > 0, "nobody is subscribed to {topic}");
        self.grows(0, "sluice_events_dropped_total", "reason", "malformed")
            .await
    }

    /// One channel's history is trimmed and another's state deleted while their readers are away.
    async fn histories_are_lost(&self) -> Result<()> {
        for (channel, reason) in [(TRIMMED, "trimmed"), (LOST, "state_lost")] {
            let mut options = self.options(channel, 0);
            let reader = Client::start(channel, options.clone());
            until_opened(std::slice::from_ref(&reader)).await?;
            self.publisher.publish(channel).await?;
            wait::until_true(PATIENCE, "it has the event", || {
                reader.log().events().count() == 1
            })
            .await?;
            options.last_event_id = Some(reader.log().last_event_id.clone());
            drop(reader);
            self.publisher.publish(channel).await?;
            self.publisher.publish(channel).await?;
            let stream = self.publisher.stream_key(channel)?;
            if channel == LOST {
                let head = self.publisher.head_key(channel)?;
                let gone: u64 = self.redis.command(&["DEL", &stream, &head]).await?;
                ensure!(gone == 2, "{gone} keys were deleted");
            } else {
                let gone: u64 = self
                    .redis
                    .command(&["XTRIM", &stream, "MAXLEN", "0"])
                    .await?;
                ensure!(gone == 3, "{gone} entries were trimmed");
            }
            options.first = 1;
            let back = Client::start(channel, options);
            self.grows(1, "sluice_resets_told_total", "reason", reason)
                .await?;
            drop(back);
        }
        self.grows(1, "sluice_replay_requests_total", "outcome", "reset")
            .await
    }

    async fn a_reader_does_not_read(&self) -> Result<()> {
        let mut options = self.options(SLOW, 0);
        options.receive_buffer = Some(4096);
        let stalled = Client::start("stalled", options);
        until_opened(std::slice::from_ref(&stalled)).await?;
        stalled.stall(true);
        let closed = async || {
            let metrics = self.nodes[0].metrics().await?;
            let closed =
                metrics.labelled("sluice_connections_closed_total", "reason", "slow_consumer");
            anyhow::Ok(closed)
        };
        let mut events = 0;
        while closed().await? == 0.0 {
            ensure!(events < MOST_BIG, "{events} big events and nobody closed");
            self.publisher.publish_sized(SLOW, BIG).await?;
            events += 1;
        }
        Ok(())
    }

    /// Redis' messages of a channel vanish on their way.
    async fn messages_are_lost(&self) -> Result<()> {
        self.proxy
            .drop_messages(&self.publisher.topic("room.0")?, 4);
        wait::until_true(PATIENCE, "messages are dropped", || {
            self.proxy.counts().dropped_messages >= 4
        })
        .await?;
        let node = &self.nodes[0];
        until_metric(node, "sluice_syncs_total", PATIENCE, |syncs| syncs > 0.0).await?;
        wait::until(PATIENCE, "a gap is found", async || {
            let mut found = 0.0;
            for node in &self.nodes {
                found += node.metrics().await?.total("sluice_gaps_found_total");
            }
            Ok((found > 0.0).then_some(()))
        })
        .await
    }

    async fn subscribers_are_killed(&self) -> Result<()> {
        let killed = self.redis.kill_subscribers().await?;
        ensure!(killed >= 3, "only {killed} subscribers were killed");
        for node in &self.nodes {
            until_metric(node, "sluice_redis_reconnects_total", PATIENCE, |count| {
                count > 0.0
            })
            .await?;
        }
        Ok(())
    }

    /// Redis answers nothing for a while; then it refuses connections for a while longer.
    async fn redis_is_frozen(&self, prometheus: &Prometheus) -> Result<()> {
        const PROBES: &str = "sluice_canary_probes_total";
        self.redis.pause().await?;
        for node in &self.nodes {
            until_metric(node, "sluice_redis_connected", PATIENCE, |on| on == 0.0).await?;
        }
        self.grows(0, "sluice_published_total", "outcome", "unavailable")
            .await?;
        self.a_canary_fails(PROBES).await?;
        wait::until(PATIENCE, "an alert waits", async || {
            let alert = "ALERTS{alertname=\"SluiceRedisAway\", alertstate=\"pending\"}";
            Ok((!prometheus.now(alert).await?.is_empty()).then_some(()))
        })
        .await?;
        self.proxy.set(Mode::Refuse);
        self.redis.resume()?;
        wait::until_true(PATIENCE, "connections are refused", || {
            self.proxy.counts().refused >= 3
        })
        .await?;
        self.proxy.set(Mode::Pass);
        for node in &self.nodes {
            until_metric(node, "sluice_redis_connected", PATIENCE, |on| on == 1.0).await?;
        }
        Ok(())
    }

    async fn a_canary_fails(&self, probes: &str) -> Result<()> {
        let mut seen = String::new();
        let failed = wait::until(PATIENCE, "a canary fails", async || {
            seen.clear();
            let mut fails = false;
            for node in &self.nodes {
                let metrics = node.metrics().await?;
                let (well, all) = (
                    metrics.labelled(probes, "outcome", "ok"),
                    metrics.total(probes),
                );
                seen += &format!("{}: {well} of {all}; ", node.name);
                fails |= all > well;
            }
            Ok(fails.then_some(()))
        });
        let failed = failed.await;
        failed.with_context(|| format!("probes that went well: {seen}"))
    }

    /// All places are taken, and one more asks.
    async fn a_node_is_full(&self) -> Result<()> {
        let only = [self.nodes[0].http()];
        let crowd: Vec<Client> = (0..PLACES)
            .map(|n| Client::start(format!("crowd{n}"), Options::new(&["crowd"], &only, 0)))
            .collect();
        self.grows(0, "sluice_connections_rejected_total", "reason", "overload")
            .await?;
        self.grows(0, "sluice_limit_hits_total", "limit", "connections")
            .await?;
        drop(crowd);
        Ok(())
    }

    async fn a_node_is_drained(&mut self) -> Result<()> {
        const CAME_BACK: &str = "sluice_replay_requests_total";
        let before = self.nodes[0].metrics().await?.total(CAME_BACK);
        self.nodes[1].terminate()?;
        until_metric(&self.nodes[1], "sluice_draining", PATIENCE, |on| on == 1.0).await?;
        let status = self.nodes[1].until_ended(PATIENCE).await?;
        ensure!(status.success(), "the drained node ended with {status}");
        until_metric(&self.nodes[0], CAME_BACK, PATIENCE, |count| count > before).await?;
        self.nodes[1].start_again().await
    }

    fn options(&self, channel: &str, first: usize) -> Options {
        let nodes: Vec<_> = self.nodes[..2].iter().map(Node::http).collect();
        Options::new(&[channel], &nodes, first)
    }
}

async fn readers(nodes: &[Node], channels: &[String]) -> Result<Vec<Client>> {
    let addrs: Vec<_> = nodes.iter().map(Node::http).collect();
    let readers: Vec<Client> = (0..READERS)
        .map(|n| {
            let channel = channels[n % channels.len()].as_str();
            Client::start(
                format!("c{n}"),
                Options::new(&[channel], &addrs, n % addrs.len()),
            )
        })
        .collect();
    until_opened(&readers).await?;
    Ok(readers)
}

fn ticks(pace: Duration) -> tokio::time::Interval {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
