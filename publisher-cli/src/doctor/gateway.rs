//! The checks of a gateway as its clients see it, through whatever stands in front. Streams and events are on channels
//! of the doctor's own, `sluice-doctor.<random>`.

mod cors;
mod events;
mod front;
mod http;
mod stream;
mod traces;

use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode, header};
use sluice_wire::Channel;
use tokio::time::{Instant, timeout};

use super::Looked;
use super::finding::{Code, Finding};
use super::report::Section;
use crate::args::{Doctor, GatewayAddress, RedisAddress};
use crate::failure::{Failure, no_answer_within};
use crate::gateway_link;
use front::{Fault, Front};
use stream::Stream;

/// How long the first byte of a stream may take beyond a round trip.
const FIRST_BYTE: Duration = Duration::from_millis(1_000);

/// What the checks share.
pub struct Patient {
    pub address: GatewayAddress,
    pub redis: Option<RedisAddress>,
    /// As a browser: HTTP/2 where TLS negotiates it, else HTTP/1.1.
    pub client: Client,
    pub front: Front,
    pub round_trip: Duration,
}

impl Patient {
    fn request(&self, method: Method, channel: &Channel) -> reqwest::RequestBuilder {
        let mut url = gateway_link::url(&self.address, &["v1", "events"]);
        url.query_pairs_mut()
            .append_pair("channel", channel.as_str());
        self.client
            .request(method, url)
            .header(header::ACCEPT, "text/event-stream")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, String> {
        match timeout(self.address.timeout, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(http::words(&gateway_link::cause(&error))),
            Err(_) => Err(no_answer_within(self.address.timeout)),
        }
    }

    /// Opens a stream that begins after `last_event_id`, or live.
    async fn open(&self, channel: &Channel, last_event_id: Option<&str>) -> Result<Stream, String> {
        let mut request = self.request(Method::GET, channel);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let begun = Instant::now();
        let response = self.send(request).await?;
        if response.status() == StatusCode::OK {
            return Ok(Stream::new(response, begun));
        }
        Err(format!("the answer was {}", response.status()))
    }
}

/// A channel of the doctor's own.
fn own_channel() -> Result<Channel, Failure> {
    let name = format!("sluice-doctor.{:016x}", rand::random::<u64>());
    Channel::parse(&name).map_err(|error| Failure::failed(error.to_string()))
}

/// Looks at everything there is to see of the gateway at `address`.
///
/// # Errors
/// No HTTP client can be made; findings are no errors.
pub async fn look(address: &GatewayAddress, job: &Doctor) -> Result<Looked, Failure> {
    let mut findings = Vec::new();
    let mut unreachable = None;
    match http::reach(address).await {
        Err((seen, advice)) => {
            unreachable = Some(gateway_link::unreachable(address, seen.clone()));
            findings.push(Finding::problem(Code::GatewayReachable, seen, advice));
        }
        Ok(()) => {
            let builder = gateway_link::builder(address)?;
            let builder = if address.base.scheme() == "https" {
                builder
            } else {
                builder.http1_only()
            };
            let mut patient = Patient {
                address: address.clone(),
                redis: job.redis.clone(),
                client: gateway_link::build(builder)?,
                front: Front::default(),
                round_trip: Duration::ZERO,
            };
            examine(&mut patient, job, &mut findings).await?;
        }
    }
    let done: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
    let left = Code::ALL
        .iter()
        .filter(|code| code.label().starts_with("gateway_") && !done.contains(code));
    findings.extend(
        left.map(|code| Finding::skipped(*code, "there is no stream to look at; see above")),
    );
    findings.sort_by_key(|finding| Code::ALL.iter().position(|code| *code == finding.code));
    Ok(Looked {
        section: Section {
            title: address.to_string(),
            findings,
        },
        unreachable,
    })
}

/// Looks at everything, and takes away what that has left in Redis.
async fn examine(
    patient: &mut Patient,
    job: &Doctor,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let channels = [own_channel()?, own_channel()?];
    look_at_all(patient, job, &channels, findings).await;
    traces::remove(patient, &channels).await;
    Ok(())
}

/// Whom we speak to, then the stream and everything on it.
async fn look_at_all(
    patient: &mut Patient,
    job: &Doctor,
    [channel, quiet]: &[Channel; 2],
    findings: &mut Vec<Finding>,
) {
    let asked = Instant::now();
    // HEAD has the headers of a stream without one, so that a proxy that holds back bodies cannot hide them.
    let answer = patient.send(patient.request(Method::HEAD, channel)).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => {
            findings.push(Finding::problem(
                Code::GatewayReachable,
                format!("something listens, and gives no HTTP answer: {why}"),
                "is --gateway its public address, with http or https as it is there? see the gateway's log",
            ));
            return;
        }
    };
    patient.round_trip = asked.elapsed();
    patient.front = Front::of(answer.headers());
    let took = patient.round_trip.as_millis();
    findings.push(Finding::ok(
        Code::GatewayReachable,
        format!("it answers in {took} ms"),
    ));
    findings.push(patient.front.finding());
    if !http::identify(patient, &answer, channel, findings).await {
        return;
    }
    findings.extend([
        http::headers(patient, answer.headers()),
        http::version_1(patient, channel).await,
        http::version_2(patient, channel).await,
        cors::check(patient, channel, job.origin.as_deref()).await,
    ]);
    let opened = patient.open(channel, None).await;
    let mut stream = match opened {
        Ok(stream) => stream,
        Err(why) => {
            findings.push(Finding::problem(
                Code::GatewayFirstByte,
                format!(
                    "the headers of a stream are held back ({why}), though the gateway is there"
                ),
                patient.front.advice(Fault::Buffering),
            ));
            return;
        }
    };
    let first = first_byte(patient, &mut stream).await;
    let flows = first.advice.is_none();
    findings.push(first);
    if !flows {
        return;
    }
    let (quiet, events, compression) = tokio::join!(
        events::quiet(patient, quiet, job.quiet_for),
        events::check(patient, channel, stream),
        http::compression(patient, channel),
    );
    findings.extend(events);
    findings.extend([quiet, compression]);
}

/// Whether the first line and `sluice.open` come at once.
async fn first_byte(patient: &Patient, stream: &mut Stream) -> Finding {
    const CODE: Code = Code::GatewayFirstByte;
    let until = Instant::now() + patient.address.timeout;
    let open = stream
        .block(until, |block| block.event_type.starts_with("sluice."))
        .await;
    let took = stream.first_byte.map(|at| at.duration_since(stream.begun));
    let Some(took) = took else {
        return Finding::problem(
            CODE,
            format!(
                "the headers came and no byte of the stream within {}",
                humantime::format_duration(patient.address.timeout)
            ),
            patient.front.advice(Fault::Buffering),
        );
    };
    match open {
        Ok(block) if block.event_type == "sluice.close" => Finding::problem(
            CODE,
            format!("the gateway closed the stream at once: {}", block.data),
            "see the node's /readyz and limits.connections; wait if it is draining",
        ),
        Ok(_) if took > FIRST_BYTE + patient.round_trip * 2 => Finding::warning(
            CODE,
            format!("the first byte of a stream took {} ms", took.as_millis()),
            patient.front.advice(Fault::Buffering),
        ),
        Ok(_) => Finding::ok(CODE, format!("after {} ms", took.as_millis())),
        Err(why) => Finding::problem(
            CODE,
            format!("the stream began, and sluice.open did not come: {why}"),
            patient.front.advice(Fault::Buffering),
        ),
    }
}
