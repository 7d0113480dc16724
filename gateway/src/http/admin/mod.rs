//! The commands of the admin listener: who may give them, and one line in the log for each. With `admin.token` they need
//! it as a bearer token; without it they are offered on a loopback address only, and not to browsers.

pub mod access;
pub mod connections;
mod disconnect;
mod explain;
mod revoke;

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::problem::{self, Code, Problem};
use super::request_id::RequestId;
use super::{body, hide};
use crate::broker::Broker;
use crate::broker::control::StandError;
use crate::metrics::ControlMetrics;
use crate::orders::{Lasting, Standing};
use crate::reasons::{AdminCommand, AdminOutcome};
use access::Access;
use connections::Roll;

/// Longest body, in bytes.
const BODY_BYTES: usize = 8 * 1_024;
/// Longest subject and token id, as in tokens.
const NAME_BYTES: usize = 256;
/// Wait that a caller is told while Redis is away.
const RETRY: Duration = Duration::from_secs(1);

/// What the commands need.
pub struct Admin {
    pub access: Access,
    pub broker: Broker,
    pub roll: Roll,
    pub limits: AdminLimits,
    pub metrics: ControlMetrics,
}

/// Bounds of the commands.
#[derive(Clone, Copy, Debug)]
pub struct AdminLimits {
    /// The longest that a token can still be accepted, leeway included: so long a revocation holds.
    pub token_lifetime: Duration,
    /// What of that is allowed for clocks that differ.
    pub leeway: Duration,
    /// How long a body may take.
    pub body_wait: Duration,
}

/// A command that was obeyed: what it was about, for the log, and its answer.
struct Obeyed {
    about: String,
    answer: serde_json::Value,
}

/// Adds the commands, if they are offered here at all.
pub fn routes(admin: &web::Data<Admin>, app: &mut web::ServiceConfig) {
    if !admin.access.is_open() {
        return;
    }
    let post_only = || web::to(|| async { problem::method_not_allowed("POST") });
    app.app_data(admin.clone());
    app.service(
        web::resource("/admin/revoke")
            .route(web::post().to(revoke::post))
            .default_service(post_only()),
    );
    app.service(
        web::resource("/admin/disconnect")
            .route(web::post().to(disconnect::post))
            .default_service(post_only()),
    );
    app.service(
        web::resource("/admin/explain")
            .route(web::post().to(explain::post))
            .default_service(post_only()),
    );
    app.service(
        web::resource("/admin/connections")
            .route(web::get().to(connections::get))
            .default_service(web::to(|| async { problem::method_not_allowed("GET") })),
    );
}

impl Admin {
    /// Obeys a command of somebody who may give it; counts it and writes it into the log, whatever comes of it.
    async fn command(
        &self,
        command: AdminCommand,
        request: &HttpRequest,
        obey: impl Future<Output = Result<Obeyed, Problem>>,
    ) -> Result<HttpResponse, Problem> {
        let peer = request.peer_addr().map(|peer| peer.to_string());
        let peer = peer.unwrap_or_default();
        let id_of_request = RequestId::current();
        let request_id = id_of_request.as_ref().map(RequestId::as_str);
        let count = |outcome| self.metrics.commands.of((command, outcome)).inc();
        if let Err(problem) = self.access.check(request.headers()) {
            count(AdminOutcome::Unauthorized);
            let code = problem.code().as_str();
            tracing::warn!(%command, peer, code, request_id, "an admin command of somebody who may not give it");
            return Err(problem);
        }
        match obey.await {
            Ok(Obeyed { about, answer }) => {
                count(AdminOutcome::Done);
                let id = answer.get("id").and_then(serde_json::Value::as_str);
                let about = hide::tokens(&about);
                tracing::info!(%command, peer, %about, id, request_id, "admin command");
                Ok(HttpResponse::Ok()
                    .insert_header(("cache-control", "no-store"))
                    .json(answer))
            }
            Err(problem) => {
                let outcome = if problem.code() == Code::BrokerUnavailable {
                    AdminOutcome::Unavailable
                } else {
                    AdminOutcome::Refused
                };
                count(outcome);
                // Not the detail: it may quote a body that was not meant to be one.
                let code = problem.code().as_str();
                tracing::info!(%command, peer, %outcome, code, request_id, "admin command");
                Err(problem)
            }
        }
    }

    /// The body of a command; `example` is shown to who sends something else.
    async fn body<T: DeserializeOwned>(
        &self,
        payload: web::Payload,
        example: &str,
    ) -> Result<T, Problem> {
        let body: Bytes = body::read(payload, BODY_BYTES, self.limits.body_wait).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let detail = format!("send a JSON object such as {example}: {error}");
            Problem::new(Code::BadBody, detail)
        })
    }

    /// The time by Redis's clock, in Unix milliseconds.
    async fn now(&self) -> Result<u64, Problem> {
        self.broker.time().await.map_err(|_| {
            let detail = "Redis is away; nothing was ordered, give the command again";
            Problem::new(Code::BrokerUnavailable, detail).retry_after(RETRY)
        })
    }

    /// Makes an order stand until then, and gives its id.
    async fn order(&self, order: Lasting, now: u64, until: u64) -> Result<String, Problem> {
        let standing = Standing::new(order, now, until, rand::random());
        let id = standing.id.clone();
        let ordered = self.broker.stand(standing).await;
        ordered.map_err(|error| {
            tracing::warn!(%error, "an order does not stand");
            let code = match error {
                StandError::NoRoom(_) => Code::Overloaded,
                StandError::Unavailable(_) | StandError::Unknown(_) => Code::BrokerUnavailable,
            };
            Problem::new(code, error.to_string()).retry_after(RETRY)
        })?;
        Ok(id)
    }
}

/// A subject or a token id.
fn name(parameter: &str, text: String) -> Result<String, Problem> {
    if text.is_empty() || text.len() > NAME_BYTES {
        let detail = format!("`{parameter}` has 1 to {NAME_BYTES} bytes");
        return Err(Problem::new(Code::BadParameter, detail).at(parameter, &text));
    }
    if hide::has_token(&text) {
        let detail =
            format!("`{parameter}` is a whole token; give what the token has in its claims");
        return Err(Problem::new(Code::BadParameter, detail).at(parameter, &text));
    }
    Ok(text)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
