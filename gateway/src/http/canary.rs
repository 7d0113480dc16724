//! The canary's own stream: an event stream like any other, but that it is the node's, so that no limit of users counts it
//! and no user's number has it. Everyone else who asks for a reserved channel is refused.

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse};

use super::accept::MediaType;
use super::admission::Admitted;
use super::peer::Peer;
use super::problem::{Code, Problem};
use super::routes::Public;
use super::streams::LocalStreams;
use super::subscribe::{from_query, opening, stream_head};
use super::told::Caller;
use crate::auth::Grant;
use crate::auth::patterns::Patterns;
use crate::connection::shapes::Shape;
use crate::health::Phase;

/// Whether the node's own canary asks.
pub(super) fn asks(request: &HttpRequest, public: &Public) -> bool {
    let Some((pass, peer)) = public.canary.as_ref().zip(request.peer_addr()) else {
        return false;
    };
    let mut values = request.headers().get_all(AUTHORIZATION);
    match (values.next(), values.next()) {
        (Some(value), None) => pass.admits(value.as_bytes(), peer),
        (_, _) => false,
    }
}

/// Its stream, of its one channel, whatever else it asks for.
///
/// # Errors
/// 503 while the node is leaving, and 400 for a malformed request: neither is counted.
pub(super) fn open(
    request: &HttpRequest,
    public: &Public,
    streams: &LocalStreams,
) -> Result<HttpResponse, Problem> {
    let refuse = |detail| Err(Problem::new(Code::Draining, detail));
    let Some(pass) = &public.canary else {
        return refuse("the canary is switched off");
    };
    let mut wanted = from_query(request, public)?;
    wanted.channels = vec![pass.channel().clone()];
    if public.health.phase() == Phase::Draining {
        return refuse("this node is leaving");
    }
    let Some(peer) = Peer::of(request, 1) else {
        return refuse("the canary has its stream already");
    };
    let admitted = Admitted::canary();
    let grant = Grant {
        subscribe: Patterns::default(),
        publish: Patterns::default(),
        ..Grant::anonymous()
    };
    let shape = Shape::EventStream { envelope: false };
    let opening = opening(&wanted, shape, (admitted.id, &grant), public);
    let body = streams.open(&opening, peer, admitted.places, Caller::of(request));
    Ok(stream_head(request, MediaType::EventStream).body(body))
}
