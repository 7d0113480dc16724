//! `POST /v1/tickets`: a random text that opens one stream, poll or page within seconds, for where neither a header nor a
//! cookie can go. It is in no log and no key: what is kept is its digest.

use std::time::SystemTime;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use sluice_wire::channel::Channel;

use super::credentials::{count_denied, only_with_tokens, recognise};
use super::problem::{Code, Problem};
use super::routes::Public;
use super::{admission, body, params};
use crate::auth::{Action, AuthError, Grant, ticket};
use crate::broker::Broker;
use crate::broker::tickets::{Redeem, TicketError};

/// Random bytes of a ticket: 256 bits, so that none can be guessed.
const TICKET_BYTES: usize = 32;

/// The body, if there is one.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Narrows the ticket to these.
    channels: Option<Vec<String>>,
}

/// `POST /v1/tickets` with a bearer token or the session's cookie: answers `201` with a ticket for all that the token may
/// read, or for the channels in the body.
///
/// # Errors
/// A [`Problem`]: 400, 401, 403, 408, 413, 415; 503 when the ticket cannot be kept.
pub async fn post(
    request: HttpRequest,
    payload: web::Payload,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    admission::attempt(&request, &public)?;
    only_with_tokens(&public)?;
    let grant = recognise(&request, &public).await?;
    let Some(expires_at) = grant.expires_at else {
        // Who is here without a token needs no ticket either.
        return Err(AuthError::Missing.into());
    };
    let limits = public.limits;
    let body = body::read(payload, limits.body_bytes, limits.body_wait).await?;
    let only = channels(&body, &request, &grant, &public)?;
    let now = SystemTime::now();
    let left = expires_at.duration_since(now).unwrap_or_default();
    let lasting = public.carriers.ticket_ttl.min(left);
    let ticket = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TICKET_BYTES]>());
    let kept = ticket::write(&grant, only.as_deref());
    public
        .broker
        .keep_ticket(key(&ticket), kept, lasting)
        .await
        .map_err(|error| match error {
            TicketError::Unavailable => Problem::from(AuthError::TicketsAway),
            TicketError::Full => Problem::new(Code::Overloaded, format!("{error}; try again"))
                .retry_after(public.carriers.ticket_ttl),
        })?;
    let expires_at = humantime::format_rfc3339_millis(now + lasting).to_string();
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "ticket": ticket, "expires_at": expires_at })))
}

/// What the ticket is narrowed to, each channel allowed.
fn channels(
    body: &[u8],
    request: &HttpRequest,
    grant: &Grant,
    public: &Public,
) -> Result<Option<Vec<Channel>>, Problem> {
    let wanted = if body.is_empty() {
        Wanted::default()
    } else {
        params::check_json(request.headers(), "send the channels as application/json")?;
        serde_json::from_slice(body).map_err(|error| {
            let shape = "write {\"channels\":[\"orders\"]}, or nothing";
            Problem::new(
                Code::BadBody,
                format!("the body is no wish for a ticket: {error}; {shape}"),
            )
        })?
    };
    let Some(names) = wanted.channels else {
        return Ok(None);
    };
    let channels = params::channels("channels", &names, public.limits.subscribe.channels)?;
    if channels.is_empty() {
        let detail = "name the channels of the ticket, or leave `channels` out for all that the token may read";
        return Err(params::no_channel(detail));
    }
    for channel in &channels {
        count_denied(grant.check(Action::Subscribe, channel), public)?;
    }
    Ok(Some(channels))
}

/// What the ticket grants to the one who brings it.
///
/// # Errors
/// [`AuthError::BadTicket`], [`AuthError::Expired`] when its token has expired since, [`AuthError::TicketsAway`].
pub(super) async fn redeem(
    ticket: &str,
    redeem: Redeem,
    broker: &Broker,
) -> Result<Grant, AuthError> {
    let is_ticket = URL_SAFE_NO_PAD
        .decode(ticket)
        .is_ok_and(|bytes| bytes.len() == TICKET_BYTES);
    if !is_ticket {
        return Err(AuthError::BadTicket);
    }
    let kept = broker.redeem_ticket(key(ticket), redeem).await;
    let kept = kept.map_err(|_| AuthError::TicketsAway)?;
    ticket::read(&kept.ok_or(AuthError::BadTicket)?, SystemTime::now())
}

/// Under which name it is kept. Looked up by its digest, no comparison can leak the ticket by its time.
fn key(ticket: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, ticket.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What other versions, and whoever looks into Redis, rely on: base64url of the SHA-256 of the ticket's text.
    #[test]
    fn the_key_is_the_digest_of_the_ticket() {
        // sha256("abc"), FIPS 180-2, appendix B.1.
        assert_eq!(key("abc"), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    }
}
