//! `GET` and `POST /v1/events`: from a request to a stream of Server-Sent Events or NDJSON,
//! or to a refusal that a browser's `EventSource` survives where it will pass.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::{Bytes, BytesMut};
use futures_util::stream;

use super::accept::{self, MediaType};
use super::admission;
use super::body;
use super::canary;
use super::credentials::{count_denied, is_url_secret, recognise_reader, spends_ticket};
use super::params::{self, SubscribeRequest};
use super::peer::Peer;
use super::problem::{Code, Problem};
use super::refusal::Refusal;
use super::renewal;
use super::routes::Public;
use super::streams::LocalStreams;
use super::told::{Caller, Refused};
use crate::auth::{Action, AuthError, Grant};
use crate::connection::shapes::{Shape, sse};
use crate::connection::{ConnectionId, Opening, blocks};
use crate::health::Phase;
use crate::reasons::{CloseReason, RejectReason};

/// `GET /v1/events?channel=orders`.
///
/// # Errors
/// A [`Problem`]: 400, 401, 403, 406; 429 and 503 for callers other than `EventSource`.
pub async fn get(
    request: HttpRequest,
    public: web::Data<Public>,
    streams: web::Data<LocalStreams>,
) -> Result<HttpResponse, Problem> {
    if canary::asks(&request, &public) {
        return canary::open(&request, &public, &streams);
    }
    let attempt = admission::attempt_stream(&request, &public);
    let wanted = from_query(&request, &public);
    if let (Err(refusal), Ok(wanted)) = (attempt, &wanted) {
        return refuse(refusal, &request, wanted.incoming.as_deref(), &public);
    }
    let peer = Peer::of(&request, public.limits.streams_per_connection);
    subscribe(&request, wanted, peer, &public, &streams).await
}

/// `HEAD /v1/events`: what [`get`] would answer, without its body and without a stream (RFC 9110, 9.3.2).
///
/// # Errors
/// As [`get`], but for what only opening a stream can tell.
pub async fn head(
    request: HttpRequest,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    admission::attempt(&request, &public)?;
    let mut wanted = count_bad(from_query(&request, &public), &public)?;
    let media_type = count_bad(media_type(request.headers()), &public)?;
    authorize(&request, &mut wanted, &public).await?;
    // As long as the answer to GET: of unknown length.
    Ok(stream_head(&request, media_type).streaming(stream::empty::<Result<Bytes, Infallible>>()))
}

pub(super) fn from_query(
    request: &HttpRequest,
    public: &Public,
) -> Result<SubscribeRequest, Problem> {
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
    // No `EventSource` sends a body: whoever does reads statuses.
    admission::attempt(&request, &public)?;
    // Before the body is waited for: until then the socket is certainly this connection's.
    let peer = Peer::of(&request, limits.streams_per_connection);
    let body = body::read(payload, limits.body_bytes, limits.body_wait).await?;
    let wanted =
        SubscribeRequest::from_body(&body, request.headers(), limits.subscribe, now(&public));
    subscribe(&request, wanted, peer, &public, &streams).await
}

async fn subscribe(
    request: &HttpRequest,
    wanted: Result<SubscribeRequest, Problem>,
    peer: Option<Peer>,
    public: &Public,
    streams: &LocalStreams,
) -> Result<HttpResponse, Problem> {
    let mut wanted = count_bad(wanted, public)?;
    let media_type = count_bad(media_type(request.headers()), public)?;
    if let Some(refusal) = before_ticket(request, peer.is_some(), public) {
        return refuse(refusal, request, wanted.incoming.as_deref(), public);
    }
    let grant = match authorize(request, &mut wanted, public).await {
        // Counted already.
        Err(problem) if problem.code().status() == StatusCode::SERVICE_UNAVAILABLE => {
            return tell_later(problem, request, wanted.incoming.as_deref());
        }
        authorized => authorized?,
    };
    if public.health.phase() == Phase::Draining {
        return refuse(Refusal::Drain, request, wanted.incoming.as_deref(), public);
    }
    let Some(peer) = peer else {
        return refuse(Refusal::Limit, request, wanted.incoming.as_deref(), public);
    };
    let admitted = match admission::admit(request, &grant, public).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(refusal, request, wanted.incoming.as_deref(), public),
    };
    let shape = match media_type {
        MediaType::EventStream => Shape::EventStream {
            envelope: wanted.envelope,
        },
        MediaType::Ndjson => Shape::Ndjson,
    };
    let opening = opening(&wanted, shape, (admitted.id, &grant), public);
    let body = streams.open(&opening, peer, admitted.places, Caller::of(request));
    Ok(stream_head(request, media_type).body(body))
}

/// Counts a request that could not be understood.
///
/// # Errors
/// As given.
pub(super) fn count_bad<T>(understood: Result<T, Problem>, public: &Public) -> Result<T, Problem> {
    let rejected = &public.connections.rejected;
    understood.inspect_err(|_| rejected.of(RejectReason::BadRequest).inc())
}

fn media_type(headers: &HeaderMap) -> Result<MediaType, Problem> {
    accept::preferred(headers).ok_or_else(|| {
        let detail = "accept text/event-stream, application/x-ndjson or */*";
        Problem::new(Code::NotAcceptable, detail)
    })
}

/// What refuses the caller for now, where its ticket would be spent on finding that out.
pub(super) fn before_ticket(
    request: &HttpRequest,
    has_place: bool,
    public: &Public,
) -> Option<Refusal> {
    let refusal = match public.health.phase() {
        Phase::Draining => Refusal::Drain,
        Phase::Starting | Phase::Started if !has_place => Refusal::Limit,
        Phase::Starting | Phase::Started => return None,
    };
    spends_ticket(request, public).then_some(refusal)
}

/// Whether the caller may read what it wants. Who names no channel gets those that its token names.
///
/// # Errors
/// 400, 401 or 403; 503 when that cannot be told now.
pub(super) async fn authorize(
    request: &HttpRequest,
    wanted: &mut SubscribeRequest,
    public: &Public,
) -> Result<Grant, Problem> {
    let rejected = &public.connections.rejected;
    let grant = recognise_reader(request, public).await;
    let grant = grant.inspect_err(|error| rejected.of(turned_away(error)).inc())?;
    if wanted.channels.is_empty() {
        let limit = public.limits.subscribe.channels;
        wanted.channels = count_bad(params::granted(&grant, limit), public)?;
    }
    count_denied(allow(&grant, wanted), public)
        .inspect_err(|_| rejected.of(RejectReason::Forbidden).inc())?;
    Ok(grant)
}

fn turned_away(error: &AuthError) -> RejectReason {
    match error {
        AuthError::OriginRequired | AuthError::OriginNotAllowed => RejectReason::Origin,
        AuthError::TicketsAway | AuthError::NotYet => RejectReason::Unavailable,
        AuthError::KeysUnavailable => RejectReason::KeysUnavailable,
        AuthError::Missing
        | AuthError::BadAuthorization
        | AuthError::Carrier(_)
        | AuthError::Invalid(_)
        | AuthError::Expired
        | AuthError::Revoked
        | AuthError::BadTicket => RejectReason::Unauthorized,
        AuthError::Scope { .. } => RejectReason::Forbidden,
    }
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

pub(super) fn opening(
    wanted: &SubscribeRequest,
    shape: Shape,
    (id, grant): (ConnectionId, &Grant),
    public: &Public,
) -> Opening {
    Opening {
        id,
        holder: Arc::clone(&grant.holder),
        channels: wanted.channels.clone(),
        start: wanted.start.clone(),
        incoming: wanted.incoming.clone(),
        shape,
        expires_at: grant
            .expires_at
            .map(|at| renewal::expiry(at, public.broker.clock().now())),
    }
}

/// The headers that keep proxies from holding events back.
pub(super) fn stream_head(request: &HttpRequest, media_type: MediaType) -> HttpResponseBuilder {
    let cache_control = if is_url_secret(request) {
        "private, no-store, no-transform"
    } else {
        "no-cache, no-transform"
    };
    let content_type = match media_type {
        MediaType::EventStream => "text/event-stream; charset=utf-8",
        MediaType::Ndjson => "application/x-ndjson; charset=utf-8",
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, cache_control))
        .insert_header(("x-accel-buffering", "no"));
    response
}

/// Tells a caller to come back later. A native `EventSource` gives up for ever
/// on any status but 200 (WHATWG HTML 9.2.3), so it gets a stream that ends.
fn refuse(
    refusal: Refusal,
    request: &HttpRequest,
    incoming: Option<&str>,
    public: &Public,
) -> Result<HttpResponse, Problem> {
    refusal.count(public);
    if !accept::is_event_source(request.headers()) {
        return Err(refusal.problem(public));
    }
    if let Some(limit) = refusal.limit() {
        public.limit_metrics.hits.of(limit).inc();
    }
    let wait = Some(refusal.wait(public));
    Ok(ended(refusal.close_reason(), wait, request, incoming))
}

/// The same for a caller who could not be recognised just now.
fn tell_later(
    problem: Problem,
    request: &HttpRequest,
    incoming: Option<&str>,
) -> Result<HttpResponse, Problem> {
    if !accept::is_event_source(request.headers()) {
        return Err(problem);
    }
    let wait = problem.wait();
    Ok(ended(CloseReason::Unavailable, wait, request, incoming))
}

/// A stream that says why it ends, and nothing else.
fn ended(
    reason: CloseReason,
    wait: Option<Duration>,
    request: &HttpRequest,
    incoming: Option<&str>,
) -> HttpResponse {
    let incoming = incoming.unwrap_or_default();
    let mut block = BytesMut::new();
    let close = blocks::close(reason, wait);
    sse::write_notice(&close, incoming.as_bytes(), &mut block);
    let mut response = stream_head(request, MediaType::EventStream);
    if request.version() < Version::HTTP_2 {
        response.force_close();
    }
    let mut response = response.body(block.freeze());
    Refused::Stream(reason).note_on(&mut response);
    response
}
