//! `GET /v1/poll`: a stream that ends with its first events, answered whole, for
//! callers and proxies that cannot hold a stream.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::rt::net::TcpStream;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::stream;
use tokio::io::Interest;

use super::admission;
use super::params;
use super::peer::Peer;
use super::problem::{Code, Problem};
use super::refusal::Refusal;
use super::routes::Public;
use super::streams::{BusyClient, LocalStreams, StreamBody};
use super::subscribe::{authorize, before_ticket, count_bad, from_query, opening};
use super::told::Caller;
use crate::auth::AuthError;
use crate::connection::shapes::{PollTerms, Shape};
use crate::health::Phase;
use crate::reasons::CloseReason;

/// Wait that a caller without any place is told before it asks again.
const RETRY: Duration = Duration::from_secs(1);

/// The bounds of polls.
#[derive(Clone, Copy, Debug)]
pub struct PollLimits {
    /// How long one waits that does not say.
    pub timeout: Duration,
    /// The longest wait that one may ask for.
    pub max_timeout: Duration,
    /// Bytes of the events of one answer, unless a single one is larger.
    pub page_bytes: u32,
}

/// `GET /v1/poll?channel=orders&last_event_id=…&timeout=25s&limit=100`.
///
/// # Errors
/// A [`Problem`]: 400, 401, 403, 429 and 503.
pub async fn get(
    request: HttpRequest,
    public: web::Data<Public>,
    streams: web::Data<LocalStreams>,
) -> Result<HttpResponse, Problem> {
    admission::attempt(&request, &public)?;
    let mut wanted = count_bad(from_query(&request, &public), &public)?;
    let terms = count_bad(terms(request.query_string(), &public.limits.poll), &public)?;
    // Before anything is waited for: until then the socket is certainly this connection's.
    let peer = Peer::of(&request, public.limits.streams_per_connection);
    let refuse = |refusal: Refusal| refusal.turn_away(&public);
    if let Some(refusal) = before_ticket(&request, peer.is_some(), &public) {
        return Err(refuse(refusal));
    }
    let grant = authorize(&request, &mut wanted, &public).await?;
    if public.health.phase() == Phase::Draining {
        return Err(refuse(Refusal::Drain));
    }
    let peer = peer.ok_or_else(|| refuse(Refusal::Limit))?;
    let watch = peer.watch();
    let admitted = admission::admit(&request, &grant, &public).await;
    let admitted = admitted.map_err(refuse)?;
    let opening = opening(&wanted, Shape::Poll(terms), (admitted.id, &grant), &public);
    let mut poll = streams.open(&opening, peer, admitted.places, Caller::of(&request));
    let answer = tokio::select! {
        answer = poll_fn(|context| Pin::new(&mut poll).poll_next(context)) => answer,
        () = closed(watch) => None,
    };
    match answer {
        Some(Ok(answer)) => Ok(head_of_answer().body(Answer {
            length: answer.len() as u64,
            bytes: Some(answer),
            poll,
        })),
        Some(Err(BusyClient)) => Err(Refusal::Limit.problem(&public)),
        None => Err(no_place(poll.close_reason(), &public)),
    }
}

/// Waits for the end of a watched connection.
async fn closed(watch: Option<TcpStream>) {
    let Some(socket) = watch else {
        return pending().await;
    };
    while let Ok(ready) = socket.ready(Interest::READABLE).await {
        if ready.is_read_closed() {
            return;
        }
        // Bytes, which are for the connection's own task: here they only have to be forgotten.
        let forgotten: io::Result<()> =
            socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
        drop(forgotten);
    }
}

/// `HEAD /v1/poll`: what [`get`] would answer, without waiting for it (RFC 9110, 9.3.2).
///
/// # Errors
/// As [`get`], but for what only waiting can tell.
pub async fn head(
    request: HttpRequest,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    admission::attempt(&request, &public)?;
    let mut wanted = count_bad(from_query(&request, &public), &public)?;
    count_bad(terms(request.query_string(), &public.limits.poll), &public)?;
    authorize(&request, &mut wanted, &public).await?;
    Ok(head_of_answer().streaming(stream::empty::<Result<Bytes, Infallible>>()))
}

fn head_of_answer() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    response
}

/// Why there is no answer: the caller brought no place that could be given back, and none is known.
fn no_place(reason: Option<CloseReason>, public: &Public) -> Problem {
    match reason {
        Some(CloseReason::Drain) => Refusal::Drain.problem(public),
        // Pushed out by a newer one of its subject.
        Some(CloseReason::Limit) => Refusal::Subject.problem(public),
        Some(CloseReason::TokenExpired) => AuthError::Expired.into(),
        Some(CloseReason::Revoked) => AuthError::Revoked.into(),
        Some(
            CloseReason::ClientGone
            | CloseReason::TransportError
            | CloseReason::SlowConsumer
            | CloseReason::PollDone
            | CloseReason::MaxAge
            | CloseReason::Overload
            | CloseReason::Disconnected
            | CloseReason::Unavailable,
        )
        | None => {
            let detail = "the broker has not told where these channels stand; ask again";
            Problem::new(Code::BrokerUnavailable, detail).retry_after(RETRY)
        }
    }
}

/// What a poll's own parameters say.
fn terms(query: &str, limits: &PollLimits) -> Result<PollTerms, Problem> {
    let mut terms = PollTerms {
        timeout: limits.timeout,
        events: params::LIMIT_DEFAULT,
        bytes: limits.page_bytes,
    };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "timeout" => terms.timeout = timeout(&value, limits.max_timeout)?,
            "limit" => terms.events = params::limit(&value)?,
            _ => {}
        }
    }
    Ok(terms)
}

fn timeout(text: &str, most: Duration) -> Result<Duration, Problem> {
    let timeout = humantime::parse_duration(text).ok();
    timeout.filter(|timeout| *timeout <= most).ok_or_else(|| {
        let most = humantime::format_duration(most);
        let detail =
            format!("`timeout` is a duration with its unit, such as 25s, of at most {most}");
        Problem::new(Code::BadParameter, detail).at("timeout", text)
    })
}

/// An answer on its way. It keeps the poll's place on the node until it is written, and a client that does not take
/// it is cut off like any stream's.
struct Answer {
    length: u64,
    bytes: Option<Bytes>,
    poll: StreamBody,
}

impl MessageBody for Answer {
    type Error = BusyClient;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BusyClient>>> {
        let answer = self.get_mut();
        match answer.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            None => Pin::new(&mut answer.poll).poll_next(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LIMITS: PollLimits = PollLimits {
        timeout: Duration::from_secs(25),
        max_timeout: Duration::from_secs(60),
        page_bytes: 1 << 20,
    };

    #[rstest]
    #[case("channel=a", 25_000, 100)]
    #[case("timeout=60s&limit=1000", 60_000, 1_000)]
    #[case("timeout=0s&limit=1", 0, 1)]
    #[case("timeout=1m", 60_000, 100)]
    #[case("timeout=250ms&_=1763676000123", 250, 100)]
    fn terms_are_read_within_their_bounds(
        #[case] query: &str,
        #[case] millis: u64,
        #[case] events: u32,
    ) {
        let terms = terms(query, &LIMITS).expect("understood");
        assert_eq!(terms.timeout, Duration::from_millis(millis));
        assert_eq!(terms.events, events);
        assert_eq!(terms.bytes, LIMITS.page_bytes);
    }

    #[rstest]
    #[case("timeout=60001ms", "timeout", "60001ms")]
    #[case("timeout=25", "timeout", "25")]
    #[case("timeout=", "timeout", "")]
    #[case("timeout=-1s", "timeout", "-1s")]
    #[case("limit=1001", "limit", "1001")]
    #[case("limit=0", "limit", "0")]
    #[case("limit=many", "limit", "many")]
    fn terms_out_of_bounds_are_refused(
        #[case] query: &str,
        #[case] parameter: &str,
        #[case] value: &str,
    ) {
        let problem = terms(query, &LIMITS).expect_err("refused");
        assert_eq!(problem.code(), Code::BadParameter);
        let shown = format!("{problem:?}");
        assert!(shown.contains(&format!("{parameter:?}")), "{shown}");
        assert!(shown.contains(&format!("{value:?}")), "{shown}");
    }
}
