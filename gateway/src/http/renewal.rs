//! `POST /v1/events/{connection}/token`: a new token for a stream that is open, wherever it is. The name of a stream
//! grants nothing: its subject must be the token's, and the token must allow all that the stream reads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::admission;
use super::asking::Unanswered;
use super::credentials::{by_bearer, only_with_tokens};
use super::problem::{Code, Problem};
use super::routes::Public;
use crate::auth::{AuthError, Grant};
use crate::broker::control::TellError;
use crate::connection::{ConnectionId, Expiry, blocks};
use crate::holder::Holder;
use crate::orders::Order;
use crate::orders::asking::Finding;
use crate::orders::renewal::{Fresh, Renewal};
use crate::reasons::AuthCode;

/// `POST /v1/events/{connection}/token` with `Authorization: Bearer <new token>`.
///
/// # Errors
/// 401 for the token; 403 when it is another subject's or does not allow a channel of the stream, which goes on as it
/// was; 404 when no node has the stream; 503 when the nodes cannot be asked.
pub async fn post(
    request: HttpRequest,
    connection: web::Path<String>,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    admission::attempt(&request, &public)?;
    only_with_tokens(&public)?;
    // Never by a cookie: the browser would send it for any page.
    let (_, grant) = by_bearer(&request, &public).await?;
    let connection: ConnectionId = connection.parse().map_err(|_| Unanswered::Nobody)?;
    let fresh = fresh(&grant).ok_or(Unanswered::Nobody)?;
    let expires_at = fresh.expires_at;
    let question = |nonce| {
        Order::Renew(Renewal {
            nonce,
            connection,
            fresh,
        })
    };
    match public.asks.ask(question).await? {
        Finding::Renewed => Ok(HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .json(json!({ "expires_at": blocks::rfc3339(expires_at) }))),
        Finding::Revoked => {
            public.http.auth_failures.of(AuthCode::TokenRevoked).inc();
            Err(AuthError::Revoked.into())
        }
        Finding::OtherSubject => Err(Problem::new(
            Code::OtherSubject,
            "the stream was opened with a token of another subject; open one of your own",
        )),
        Finding::MissingChannel { channel } => {
            let code = AuthCode::InsufficientScope;
            public.http.auth_failures.of(code).inc();
            let detail = "the new token does not allow every channel of the stream, which goes on with the old one";
            Err(Problem::new(Code::InsufficientScope, detail).at("channel", &channel))
        }
        Finding::Why(_) => Err(Problem::new(
            Code::Internal,
            "another question was answered",
        )),
    }
}

/// Lets every stream of the grant's browser session go on with it, on all nodes; for `POST /v1/session`. A stream whose
/// channels it does not allow ends with its old token.
///
/// # Errors
/// Only the streams of this node were told, since the others could not be reached.
pub async fn session(public: &Public, grant: &Grant) -> Result<(), TellError> {
    let Some(fresh) = fresh(grant).filter(|fresh| fresh.holder.session.is_some()) else {
        return Ok(());
    };
    let order = Order::RenewSession(fresh);
    let told = public.broker.tell(&order).await;
    if told.is_err() {
        public.broker.tell_here(order);
    }
    told
}

/// What nodes are told of a grant; nothing of one that never ends.
fn fresh(grant: &Grant) -> Option<Fresh> {
    let expires_at = grant.expires_at?;
    Some(Fresh {
        holder: Holder::clone(&grant.holder),
        expires_at: unix_ms(expires_at),
        subscribe: grant.subscribe.clone(),
    })
}

/// The end of a right to read by both clocks; `now` is the node's monotonic time.
pub(super) fn expiry(at: SystemTime, now: Duration) -> Expiry {
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    Expiry {
        at: now + left,
        unix_ms: unix_ms(at),
    }
}

/// The same for a moment that another node has told.
pub(super) fn expiry_of(fresh: &Fresh, now: Duration) -> Expiry {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(fresh.expires_at));
    expiry(at.unwrap_or(UNIX_EPOCH), now)
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
