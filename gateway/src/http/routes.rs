//! The public listener's route table, and what its routes share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tokio::sync::Semaphore;

use super::admission::Gate;
use super::asking::Asks;
use super::credentials::Carriers;
use super::params::SubscribeLimits;
use super::poll::PollLimits;
use super::{
    batch, dev, history, page, poll, problem, publish, renewal, session, subscribe, tickets,
};
use crate::auth::Authenticator;
use crate::auth::revoked::RevocationCheck;
use crate::broker::Broker;
use crate::canary::Pass;
use crate::health::Health;
use crate::metrics::{ConnectionMetrics, Counters, HttpMetrics, LimitMetrics};
use crate::reasons::ResetReason;

/// Where streams are.
pub const EVENTS: &str = "/v1/events";
/// Where they are one answer at a time.
pub const POLL: &str = "/v1/poll";

/// What the public routes need; one per process, shared by its workers.
pub struct Public {
    pub authenticator: Arc<Authenticator>,
    pub revocations: RevocationCheck,
    pub carriers: Carriers,
    pub broker: Broker,
    pub health: Health,
    pub limits: PublicLimits,
    /// Questions to all nodes.
    pub asks: Asks,
    /// A permit for each batch that may begin.
    pub batches: Semaphore,
    pub http: HttpMetrics,
    pub connections: ConnectionMetrics,
    pub resets_told: Counters<ResetReason>,
    /// Who is let in.
    pub gate: Gate,
    pub limit_metrics: LimitMetrics,
    /// What the node's own canary is known by; nothing where it is switched off.
    pub canary: Option<Pass>,
}

/// Bounds of requests.
#[derive(Clone, Copy, Debug)]
pub struct PublicLimits {
    pub subscribe: SubscribeLimits,
    pub poll: PollLimits,
    /// Bytes of an event's data.
    pub event_bytes: usize,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// Events of a batch.
    pub batch_events: usize,
    /// How long a batch may take to arrive.
    pub batch_wait: Duration,
    /// Batches that are read and published at once.
    pub batches_at_once: usize,
    /// Bytes of a page of history.
    pub page_bytes: usize,
    /// Bytes of any other body.
    pub body_bytes: usize,
    /// How long a body may take.
    pub body_wait: Duration,
    /// Streams of one connection (HTTP/2).
    pub streams_per_connection: usize,
    /// Wait before a reconnect that overload answers ask for.
    pub overload_retry: Duration,
}

/// Adds the public routes; `dev` adds the demo page at `/` and what it needs.
pub fn add(app: &mut web::ServiceConfig, dev: bool) {
    app.service(
        web::resource(EVENTS)
            .route(web::get().to(subscribe::get))
            .route(web::head().to(subscribe::head))
            .route(web::post().to(subscribe::post))
            .default_service(web::to(|| async {
                problem::method_not_allowed("GET, HEAD, POST")
            })),
    );
    app.service(
        web::resource("/v1/events/{connection}/token")
            .route(web::post().to(renewal::post))
            .default_service(web::to(|| async { problem::method_not_allowed("POST") })),
    );
    app.service(
        web::resource(POLL)
            .route(web::get().to(poll::get))
            .route(web::head().to(poll::head))
            .default_service(web::to(|| async {
                problem::method_not_allowed("GET, HEAD")
            })),
    );
    app.service(
        web::resource("/v1/channels/{channel}/events")
            .route(web::get().to(history::get))
            .route(web::head().to(history::get))
            .route(web::post().to(publish::post))
            .default_service(web::to(|| async {
                problem::method_not_allowed("GET, HEAD, POST")
            })),
    );
    app.service(
        web::resource("/v1/publish")
            .route(web::post().to(batch::post))
            .default_service(web::to(|| async { problem::method_not_allowed("POST") })),
    );
    add_carriers(app);
    if dev {
        add_dev(app);
    }
    app.default_service(web::to(problem::not_found));
}

/// Where a token becomes something that a browser can carry.
fn add_carriers(app: &mut web::ServiceConfig) {
    app.service(
        web::resource("/v1/session")
            .route(web::post().to(session::post))
            .route(web::delete().to(session::delete))
            .default_service(web::to(|| async {
                problem::method_not_allowed("POST, DELETE")
            })),
    );
    app.service(
        web::resource("/v1/tickets")
            .route(web::post().to(tickets::post))
            .default_service(web::to(|| async { problem::method_not_allowed("POST") })),
    );
}

fn add_dev(app: &mut web::ServiceConfig) {
    let get_only = || web::to(|| async { problem::method_not_allowed("GET, HEAD") });
    app.service(
        web::resource("/")
            .route(web::get().to(page::index))
            .route(web::head().to(page::index))
            .default_service(get_only()),
    );
    app.service(
        web::resource("/dev/page/{file}")
            .route(web::get().to(page::file))
            .route(web::head().to(page::file))
            .default_service(get_only()),
    );
    app.service(
        web::resource("/dev/cut")
            .route(web::post().to(dev::cut))
            .default_service(web::to(|| async { problem::method_not_allowed("POST") })),
    );
}
