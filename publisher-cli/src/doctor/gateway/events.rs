//! Events through the gateway: published, timed on their way, replayed after a reconnect; and a stream left in peace.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use reqwest::StatusCode;
use sluice_wire::publish::{Publish, script};
use sluice_wire::{Channel, Defaults};
use tokio::time::{Instant, timeout};

use super::stream::{Quiet, Stream};
use super::{Fault, Patient};
use crate::doctor::finding::{Code, Finding};
use crate::failure::no_answer_within;
use crate::gateway_link;
use crate::redis_link;

/// Events that are timed.
const EVENTS: usize = 5;
/// A proxy that waits for more to send adds 200 to 400 ms; what is below is the way itself.
const HELD_BACK: Duration = Duration::from_millis(120);
/// The gateway's default, and some time for it to come.
const HEARTBEAT: Duration = Duration::from_secs(15);
const HEARTBEAT_SLACK: Duration = Duration::from_secs(2);

/// How events get in.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Gateway,
    Redis,
}

/// The findings of everything that needs events.
pub async fn check(patient: &Patient, channel: &Channel, mut stream: Stream) -> Vec<Finding> {
    let (way, published) = way_in(patient, channel).await;
    let mut findings = vec![published];
    let Some(way) = way else {
        let skip =
            |code| Finding::skipped(code, "no event could be published; see gateway_publish");
        findings.extend(
            [
                Code::GatewayDelivery,
                Code::GatewayReplay,
                Code::GatewayBroker,
            ]
            .map(skip),
        );
        return findings;
    };
    let delivered = delivery(patient, channel, way, &mut stream).await;
    let arrived = delivered.is_ok();
    findings.push(delivered.unwrap_or_else(|finding| finding));
    findings.push(if arrived {
        replay(patient, channel, way, stream)
            .await
            .unwrap_or_else(|why| {
                Finding::problem(
                    Code::GatewayReplay,
                    why,
                    "see the gateway's log; try again with --timeout 20s",
                )
            })
    } else {
        Finding::skipped(
            Code::GatewayReplay,
            "events do not arrive; see gateway_delivery",
        )
    });
    findings.push(broker(patient, channel, way, arrived).await);
    findings
}

/// Publishes `0`, by the gateway if it may be, else by Redis.
async fn way_in(patient: &Patient, channel: &Channel) -> (Option<Way>, Finding) {
    const CODE: Code = Code::GatewayPublish;
    let (status, why) = match by_gateway(patient, channel, "0").await {
        Ok(()) => {
            return (
                Some(Way::Gateway),
                Finding::ok(CODE, "events can be published over HTTP"),
            );
        }
        Err(refused) => refused,
    };
    if matches!(
        status,
        Some(StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR)
    ) {
        let advice = "see that the gateway reaches Redis: its /readyz and log, and `sluice doctor --redis` from its machine";
        return (None, Finding::problem(CODE, why, advice));
    }
    if patient.redis.is_none() {
        return (
            None,
            Finding::skipped(
                CODE,
                format!("{why}; pass --redis too, or a token that may publish to sluice-doctor.*"),
            ),
        );
    }
    match by_redis(patient, channel, "0").await {
        Ok(()) => (
            Some(Way::Redis),
            Finding::note(CODE, format!("{why}; published into Redis instead")),
        ),
        Err(redis) => (
            None,
            Finding::skipped(CODE, format!("{why}; and into Redis neither: {redis}")),
        ),
    }
}

async fn publish(patient: &Patient, channel: &Channel, way: Way, data: &str) -> Result<(), String> {
    match way {
        Way::Gateway => by_gateway(patient, channel, data)
            .await
            .map_err(|(_, why)| why),
        Way::Redis => by_redis(patient, channel, data).await,
    }
}

async fn by_gateway(
    patient: &Patient,
    channel: &Channel,
    data: &str,
) -> Result<(), (Option<StatusCode>, String)> {
    let url = gateway_link::url(
        &patient.address,
        &["v1", "channels", channel.as_str(), "events"],
    );
    let sent = patient
        .send(patient.client.post(url).body(data.to_owned()))
        .await;
    let response = sent.map_err(|why| (None, why))?;
    let status = response.status();
    if status == StatusCode::CREATED {
        return Ok(());
    }
    let why = gateway_link::refusal(&patient.address, response)
        .await
        .to_string();
    Err((
        Some(status),
        format!("publishing over HTTP is refused: {why}"),
    ))
}

async fn by_redis(patient: &Patient, channel: &Channel, data: &str) -> Result<(), String> {
    let address = patient.redis.as_ref().ok_or("no Redis is given")?;
    let event = Publish::new(channel, data.as_bytes());
    let keys = event.keys(&address.keys);
    let mut eval = redis::cmd("EVAL");
    eval.arg(script(&Defaults::default()))
        .arg(keys.len())
        .arg(keys)
        .arg(event.args());
    let deadline = Instant::now() + address.timeout;
    let connected = redis_link::connect(address, AsyncConnectionConfig::new(), deadline).await;
    let mut connection = connected.map_err(|failure| failure.to_string())?;
    match timeout(address.timeout, eval.exec_async(&mut connection)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(redis_link::text(&error)),
        Err(_) => Err(no_answer_within(address.timeout)),
    }
}

/// Whether events arrive, each once and in time.
async fn delivery(
    patient: &Patient,
    channel: &Channel,
    way: Way,
    stream: &mut Stream,
) -> Result<Finding, Finding> {
    const CODE: Code = Code::GatewayDelivery;
    let lost = |what: String| {
        Finding::problem(
            CODE,
            what,
            match way {
                Way::Gateway => patient.front.advice(Fault::Buffering),
                Way::Redis => {
                    "does the gateway use this Redis and prefix (redis.url, redis.prefix)? if so: "
                        .to_owned()
                        + &patient.front.advice(Fault::Buffering)
                }
            },
        )
    };
    let mut times = Vec::with_capacity(EVENTS);
    let limit = patient.address.timeout;
    let first = stream
        .block(Instant::now() + limit, |block| block.data == "0")
        .await;
    first.map_err(|why| {
        lost(format!(
            "an event was taken and did not arrive on the open stream: {why}"
        ))
    })?;
    for number in 1..=EVENTS {
        let data = number.to_string();
        let sent = Instant::now();
        publish(patient, channel, way, &data)
            .await
            .map_err(|why| lost(format!("event {number}: {why}")))?;
        let arrived = stream
            .block(sent + limit, |block| {
                !block.event_type.starts_with("sluice.")
            })
            .await;
        let block = arrived
            .map_err(|why| lost(format!("event {number} of {EVENTS} did not arrive: {why}")))?;
        if block.data != data {
            return Err(lost(format!(
                "event {data} was due and {} came",
                block.data
            )));
        }
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    let median = times[EVENTS / 2];
    let shown = format!(
        "{EVENTS} events arrived, each {} ms after it was sent (median)",
        median.as_millis()
    );
    if median > HELD_BACK + patient.round_trip * 2 {
        return Ok(Finding::warning(
            CODE,
            format!(
                "{shown}, on a way of {} ms: something holds each event back",
                patient.round_trip.as_millis()
            ),
            patient.front.advice(Fault::Delay),
        ));
    }
    Ok(Finding::ok(CODE, shown))
}

/// Comes back with a place one event ago, and wants exactly that event, then a live one. The event is seen on the first
/// stream before: a node that has yet to hear of it would give it to a stream without a place too.
async fn replay(
    patient: &Patient,
    channel: &Channel,
    way: Way,
    mut first: Stream,
) -> Result<Finding, String> {
    const CODE: Code = Code::GatewayReplay;
    let place = first.last_event_id().to_owned();
    publish(patient, channel, way, "missed").await?;
    let until = Instant::now() + patient.address.timeout;
    let passed = first.block(until, |block| block.data == "missed").await;
    passed.map_err(|why| format!("an event did not arrive before the reconnect: {why}"))?;
    drop(first);
    let mut stream = patient.open(channel, Some(&place)).await?;
    let until = Instant::now() + patient.address.timeout;
    let opened = stream
        .block(until, |block| block.event_type == "sluice.open")
        .await;
    opened.map_err(|why| format!("the stream that comes back does not begin: {why}"))?;
    publish(patient, channel, way, "live").await?;
    let mut seen = Vec::new();
    let until = Instant::now() + patient.address.timeout;
    let mut ended = None;
    while seen.last().map(String::as_str) != Some("live") {
        match stream.next(until).await {
            Ok(block) if block.event_type == "sluice.open" => {}
            Ok(block) if block.event_type.starts_with("sluice.") => {
                seen.push(format!("{} {}", block.event_type, block.data))
            }
            Ok(block) => seen.push(block.data),
            Err(why) => {
                ended = Some(why.to_string());
                break;
            }
        }
    }
    if seen == ["missed", "live"] {
        return Ok(Finding::ok(
            CODE,
            "a stream that came back had exactly the event it missed",
        ));
    }
    let end = ended.map_or(String::new(), |why| format!("; then {why}"));
    let (status, advice) = if seen.iter().any(|block| block.starts_with("sluice.reset")) {
        (
            "was told a reset",
            "see that all nodes behind this address use one Redis, and that history.max_events and history.ttl are not tiny",
        )
    } else if seen == ["live"] || seen.iter().all(|block| block != "missed") {
        (
            "had not the event it missed",
            "let the proxy in front pass the request header Last-Event-ID on",
        )
    } else {
        (
            "had other events than the one it missed",
            "let the proxy in front pass the request header Last-Event-ID on, and neither cache nor repeat /v1/events",
        )
    };
    Ok(Finding::problem(
        CODE,
        format!("a stream that came back {status}: {}{end}", seen.join(", ")),
        advice,
    ))
}

/// Whether the gateway keeps its events in the Redis that was given.
async fn broker(patient: &Patient, channel: &Channel, way: Way, arrived: bool) -> Finding {
    const CODE: Code = Code::GatewayBroker;
    let Some(address) = &patient.redis else {
        return Finding::skipped(CODE, "pass --redis too, to check that the gateway uses it");
    };
    let deadline = Instant::now() + address.timeout;
    let connected = redis_link::connect(address, AsyncConnectionConfig::new(), deadline).await;
    let mut connection = match connected {
        Ok(connection) => connection,
        Err(failure) => return Finding::skipped(CODE, failure.to_string()),
    };
    let mut exists = redis::cmd("EXISTS");
    exists.arg(address.keys.stream(channel));
    let asked = timeout(address.timeout, exists.query_async::<bool>(&mut connection)).await;
    match (asked, way) {
        (Ok(Ok(true)), Way::Gateway) => {
            Finding::ok(CODE, "what is published over HTTP is in the Redis given")
        }
        (Ok(Ok(true)), Way::Redis) if arrived => {
            Finding::ok(CODE, "what is published into the Redis given arrives")
        }
        (Ok(Ok(_)), _) => Finding::problem(
            CODE,
            "the gateway does not keep its events in the Redis given, under its prefix",
            "give both the same redis.url and redis.prefix (--prefix); a gateway with --dev and no redis.url has a broker of its own",
        ),
        (Ok(Err(error)), _) => Finding::skipped(CODE, redis_link::text(&error)),
        (Err(_), _) => Finding::skipped(CODE, no_answer_within(address.timeout)),
    }
}

/// Leaves a stream alone for `quiet_for`: it must stay, and heartbeats must come.
pub async fn quiet(patient: &Patient, channel: &Channel, quiet_for: Duration) -> Finding {
    const CODE: Code = Code::GatewayQuiet;
    let finding = watch(patient, channel, quiet_for).await;
    finding.unwrap_or_else(|why| {
        Finding::problem(
            CODE,
            format!("a second stream does not begin: {why}"),
            "see gateway_first_byte",
        )
    })
}

async fn watch(
    patient: &Patient,
    channel: &Channel,
    quiet_for: Duration,
) -> Result<Finding, String> {
    const CODE: Code = Code::GatewayQuiet;
    let mut stream = patient.open(channel, None).await?;
    let end = Instant::now() + quiet_for;
    let shown = humantime::format_duration(quiet_for);
    let ended = stream
        .block(end, |block| block.event_type == "sluice.close")
        .await;
    // One comes with the headers.
    let heartbeats = stream.comments.saturating_sub(1);
    let lasted = stream.begun.elapsed();
    Ok(match ended {
        Ok(close) => Finding::note(
            CODE,
            format!("the gateway itself ended the stream: {}", close.data),
        ),
        Err(Quiet::Ended(why)) => Finding::problem(
            CODE,
            format!(
                "a quiet stream was cut after {:.1} s, {heartbeats} heartbeats into it: {why}",
                lasted.as_secs_f64()
            ),
            patient.front.advice(Fault::IdleCut)
                + "; stream.heartbeat must be shorter than every such timeout",
        ),
        Err(Quiet::Silent) if heartbeats > 0 => Finding::ok(
            CODE,
            format!("a quiet stream was kept for {shown}, with {heartbeats} heartbeats"),
        ),
        Err(Quiet::Silent) if quiet_for >= HEARTBEAT + HEARTBEAT_SLACK => Finding::warning(
            CODE,
            format!(
                "a quiet stream was kept for {shown}, and no heartbeat came: clients cannot tell it from a dead one"
            ),
            "if stream.heartbeat is longer, shorten it (15s); else ".to_owned()
                + &patient.front.advice(Fault::Buffering),
        ),
        Err(Quiet::Silent) => Finding::note(
            CODE,
            format!(
                "a quiet stream was kept for {shown}, which is too short to see a heartbeat (15 s)"
            ),
        )
        .advise("look for longer: --quiet-for 20s"),
    })
}
