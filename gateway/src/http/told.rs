//! What the log says of requests and streams, one line each. The names of lines and fields are documented in docs/logs.md
//! and stay; no line has a channel, a subject, or anything that a caller wrote but its request id and trace.

use std::time::Instant;

use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse};
use sluice_wire::position::Position;
use sluice_wire::trace::TraceContext;
use tracing::Level;
use tracing::field::display;

use super::problem::{Code, Problem};
use super::request_id::RequestId;
use crate::connection::Ended;
use crate::reasons::{CloseReason, PublishOutcome};

/// Who caused a stream, as far as the log is concerned.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    request_id: Option<RequestId>,
    /// Boxed, since few streams have one.
    trace: Option<Box<TraceContext>>,
}

impl Caller {
    /// The caller of the request that is being answered.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Caller {
        Caller {
            request_id: RequestId::current(),
            trace: trace(request.headers()).map(Box::new),
        }
    }
}

/// The trace that a request belongs to. More than one `traceparent` is none (W3C Trace Context, 3.2).
#[must_use]
pub fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all("traceparent");
    match (values.next(), values.next()) {
        (Some(value), None) => TraceContext::parse(value.to_str().ok()?.trim()),
        (Some(_) | None, _) => None,
    }
}

/// Why an answer is a refusal, for [`refusal`].
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// With a problem.
    Problem(Code),
    /// With a stream that says so and ends.
    Stream(CloseReason),
}

impl Refused {
    /// Notes it on the answer.
    pub fn note_on(self, response: &mut HttpResponse) {
        response.extensions_mut().insert(self);
    }
}

/// A request that was refused.
pub(super) fn refusal(response: &ServiceResponse, id: &RequestId) {
    if !tracing::enabled!(Level::DEBUG) {
        return;
    }
    let Some(refused) = response.response().extensions().get::<Refused>().copied() else {
        return;
    };
    let request = response.request();
    let (code, reason) = match refused {
        Refused::Problem(code) => (Some(code.as_str()), None),
        Refused::Stream(reason) => (None, Some(display(reason))),
    };
    let trace = trace(request.headers());
    tracing::debug!(
        request_id = id.as_str(),
        trace_id = trace.map(|trace| display(trace.trace_id())),
        span_id = trace.map(|trace| display(trace.span_id())),
        method = method(request.method()),
        route = request.match_pattern(),
        status = response.status().as_u16(),
        code,
        reason,
        "request refused"
    );
}

/// A method that HTTP has; any other word may be a token in the wrong place.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "_OTHER",
    }
}

/// A stream or a poll that has ended.
pub(super) fn stream_end(ended: &Ended, reason: CloseReason, caller: &Caller) {
    let Ended {
        id,
        shape,
        channels,
        duration,
        events,
        bytes,
        reason: _,
    } = *ended;
    macro_rules! line {
        ($level:ident, $text:literal) => {
            tracing::$level!(
                reason = %reason,
                duration_seconds = seconds(duration),
                events,
                bytes,
                shape = shape.as_label(),
                channels,
                connection_id = %id,
                request_id = caller.request_id.as_ref().map(RequestId::as_str),
                trace_id = caller.trace.as_ref().map(|trace| display(trace.trace_id())),
                span_id = caller.trace.as_ref().map(|trace| display(trace.span_id())),
                $text
            )
        };
    }
    if reason == CloseReason::PollDone {
        // A client that polls ends one after the other.
        line!(debug, "poll answered");
    } else {
        line!(info, "stream ended");
    }
}

/// One request to publish.
pub(super) struct Publishing {
    trace: Option<TraceContext>,
    since: Instant,
}

impl Publishing {
    /// It begins now.
    pub fn begin(headers: &HeaderMap) -> Publishing {
        Publishing {
            trace: trace(headers),
            since: Instant::now(),
        }
    }

    /// What goes with the event.
    pub fn traceparent(&self) -> Option<String> {
        self.trace.map(|trace| trace.to_string())
    }

    /// What became of its one event.
    pub fn one(&self, outcome: PublishOutcome, position: Result<Position, &Problem>) {
        tracing::debug!(
            outcome = %outcome,
            position = position.ok().map(display),
            code = position.err().map(|problem| problem.code().as_str()),
            duration_seconds = seconds(self.since.elapsed()),
            request_id = RequestId::current().as_ref().map(RequestId::as_str),
            trace_id = self.trace.map(|trace| display(trace.trace_id())),
            span_id = self.trace.map(|trace| display(trace.span_id())),
            "published"
        );
    }

    /// What became of the lines of a batch.
    pub fn batch(&self, lines: usize, accepted: usize) {
        tracing::debug!(
            lines,
            accepted,
            duration_seconds = seconds(self.since.elapsed()),
            request_id = RequestId::current().as_ref().map(RequestId::as_str),
            trace_id = self.trace.map(|trace| display(trace.trace_id())),
            span_id = self.trace.map(|trace| display(trace.span_id())),
            "batch published"
        );
    }
}

/// To the microsecond.
fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}
