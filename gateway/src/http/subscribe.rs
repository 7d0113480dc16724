//! `GET` and `POST /v1/events`: from a request to a stream, or to a refusal
//! that a browser's `EventSource` survives where it will pass.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::Version;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use rand::Rng;

use super::auth::{Action, AuthError, Grant};
use super::body;
use super::params::SubscribeRequest;
use super::peer::Peer;
use super::problem::{Code, Problem};
use super::routes::Public;
use super::streams::LocalStreams;
use crate::connection::{Opening, blocks};
use crate::health::Phase;
use crate::hub::frame::Format;
use crate::reasons::{CloseReason, RejectReason};

const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// `GET /v1/events?channel=orders`.
///
/// # Errors
/// A [`Problem`]: 400, 401, 403, 406; 429 and 503 for callers other than `EventSource`.
pub async fn get(
    request: HttpRequest,
    public: web::Data<Public>,
    streams: web::Data<LocalStreams>,
) -> Result<HttpResponse, Problem> {
    let wanted = from_query(&request, &public);
    let peer = Peer::of(&request, public.limits.streams_per_connection);
    subscribe(&request, wanted, peer, &public, &streams)
}

/// `HEAD /v1/events`: what [`get`] would answer, without its body and without a stream (RFC 9110, 9.3.2).
///
/// # Errors
/// As [`get`], but for what only opening a stream can tell.
pub async fn head(
    request: HttpRequest,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    let wanted = from_query(&request, &public);
    check(&request, wanted, &public)?;
    // As long as the answer to GET: of unknown length.
    Ok(event_stream().streaming(stream::empty::<Result<Bytes, Infallible>>()))
}

fn from_query(request: &HttpRequest, public: &Public) -> Result<SubscribeRequest, Problem> {
    SubscribeRequest::from_query(
        request.query_string(),
        request.headers(),
        public.limits.subscribe,
        now(public),
    )
}

/// `POST /v1/events` with `{"channels":["orders"]}`, for callers with many
/// channels or a long cursor.
///
/// # Errors
/// As [`get`]; besides 408, 413 and 415 for the body.
pub async fn post(
    request: HttpRequest,
    payload: web::Payload,
    public: web::Data<Public>,
    streams: web::Data<LocalStreams>,
) -> Result<HttpResponse, Problem> {
    let limits = public.limits;
    // Before the body is waited for: until then the socket is certainly this connection's.
    let peer = Peer::of(&request, limits.streams_per_connection);
    let body = body::read(payload, limits.body_bytes, limits.body_wait).await?;
    let wanted =
        SubscribeRequest::from_body(&body, request.headers(), limits.subscribe, now(&public));
    subscribe(&request, wanted, peer, &public, &streams)
}

fn subscribe(
    request: &HttpRequest,
    wanted: Result<SubscribeRequest, Problem>,
    peer: Option<Peer>,
    public: &Public,
    streams: &LocalStreams,
) -> Result<HttpResponse, Problem> {
    let (wanted, grant) = check(request, wanted, public)?;
    if public.health.phase() == Phase::Draining {
        return refuse(Refusal::Drain, request, &wanted, public);
    }
    let Some(peer) = peer else {
        return refuse(Refusal::Limit, request, &wanted, public);
    };
    match streams.open(&opening(&wanted, &grant, public), peer) {
        Some(body) => Ok(event_stream().body(body)),
        None => refuse(Refusal::Overload, request, &wanted, public),
    }
}

/// Whether the request may have what it wants, as far as it says itself.
fn check(
    request: &HttpRequest,
    wanted: Result<SubscribeRequest, Problem>,
    public: &Public,
) -> Result<(SubscribeRequest, Grant), Problem> {
    let rejected = &public.connections.rejected;
    let wanted = wanted.inspect_err(|_| rejected.of(RejectReason::BadRequest).inc())?;
    if !accepts_event_stream(request.headers()) {
        rejected.of(RejectReason::BadRequest).inc();
        let detail = "this resource is a text/event-stream; accept that, or */*";
        return Err(Problem::new(Code::NotAcceptable, detail));
    }
    let grant = public.authenticator.authenticate(request.headers());
    let grant = grant.inspect_err(|error| {
        public.http.auth_failures.of(error.code()).inc();
        rejected.of(RejectReason::Unauthorized).inc();
    })?;
    allow(&grant, &wanted).inspect_err(|error| {
        public.http.auth_failures.of(error.code()).inc();
        rejected.of(RejectReason::Forbidden).inc();
    })?;
    Ok((wanted, grant))
}

fn allow(grant: &Grant, wanted: &SubscribeRequest) -> Result<(), AuthError> {
    wanted
        .channels
        .iter()
        .try_for_each(|channel| grant.check(Action::Subscribe, channel))
}

/// The clock that positions are made with: Redis's, as last seen.
fn now(public: &Public) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(public.broker.clock().wall())
}

fn opening(wanted: &SubscribeRequest, grant: &Grant, public: &Public) -> Opening {
    let left = grant.expires_at.map(|at| {
        at.duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO)
    });
    Opening {
        channels: wanted.channels.clone(),
        start: wanted.start.clone(),
        incoming: wanted.incoming.clone(),
        format: if wanted.envelope {
            Format::Envelope
        } else {
            Format::Plain
        },
        expires_at: left.map(|left| public.broker.clock().now() + left),
    }
}

/// The headers that keep proxies from holding events back.
fn event_stream() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, EVENT_STREAM))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header(("x-accel-buffering", "no"));
    response
}

/// Why a stream cannot begin now, though it may later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The node is leaving.
    Drain,
    /// The connection carries as many streams as it may.
    Limit,
    /// The node carries as many streams as it may.
    Overload,
}

impl Refusal {
    fn close_reason(self) -> CloseReason {
        match self {
            Refusal::Drain => CloseReason::Drain,
            Refusal::Limit => CloseReason::Limit,
            Refusal::Overload => CloseReason::Overload,
        }
    }

    /// The metric's label, the problem's code and its text.
    fn terms(self) -> (RejectReason, Code, &'static str) {
        match self {
            Refusal::Drain => (RejectReason::Drain, Code::Draining, "this node is leaving"),
            Refusal::Limit => (
                RejectReason::Limit,
                Code::TooManyConnections,
                "this connection carries as many streams as it may",
            ),
            Refusal::Overload => (
                RejectReason::Overload,
                Code::Overloaded,
                "this node carries as many streams as it may",
            ),
        }
    }
}

/// Tells a caller to come back later. A native `EventSource` gives up for ever
/// on any status but 200 (WHATWG HTML 9.2.3), so it gets a stream that ends.
fn refuse(
    refusal: Refusal,
    request: &HttpRequest,
    wanted: &SubscribeRequest,
    public: &Public,
) -> Result<HttpResponse, Problem> {
    let (rejection, code, text) = refusal.terms();
    public.connections.rejected.of(rejection).inc();
    let mut rng = rand::rng();
    let retry = match refusal {
        Refusal::Drain => Duration::from_millis(rng.random_range(200..2_000)),
        Refusal::Limit | Refusal::Overload => public
            .limits
            .overload_retry
            .mul_f64(rng.random_range(0.5..1.5)),
    };
    if !accepts_nothing_else(request.headers()) {
        return Err(Problem::new(code, text).retry_after(retry));
    }
    let incoming = wanted.incoming.as_deref().unwrap_or_default();
    let mut block = BytesMut::new();
    blocks::write_close(
        refusal.close_reason(),
        incoming.as_bytes(),
        Some(retry),
        &mut block,
    );
    let mut response = event_stream();
    if request.version() < Version::HTTP_2 {
        response.force_close();
    }
    Ok(response.body(block.freeze()))
}

/// Whether `text/event-stream` is acceptable (RFC 9110, 12.5.1).
fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let mut ranges = media_ranges(headers).peekable();
    ranges.peek().is_none()
        || ranges.any(|range| matches!(&*range, "text/event-stream" | "text/*" | "*/*"))
}

/// Whether the caller takes `text/event-stream` and no other media type, as `EventSource` does.
fn accepts_nothing_else(headers: &HeaderMap) -> bool {
    let mut ranges = media_ranges(headers).peekable();
    ranges.peek().is_some() && ranges.all(|range| range == "text/event-stream")
}

fn media_ranges(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers
        .get_all(header::ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| {
            range
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
        })
        .filter(|range| !range.is_empty())
}
