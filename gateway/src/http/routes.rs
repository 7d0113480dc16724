//! The public listener's route table, and what its routes share.

use std::time::Duration;

use actix_web::web;

use super::auth::Authenticator;
use super::params::SubscribeLimits;
use super::{batch, history, page, problem, publish, subscribe};
use crate::broker::Broker;
use crate::health::Health;
use crate::metrics::{ConnectionMetrics, Counters, HttpMetrics};
use crate::reasons::ResetReason;

/// Where streams are.
pub const EVENTS: &str = "/v1/events";

/// What the public routes need; one per process, shared by its workers.
pub struct Public {
    pub authenticator: Authenticator,
    pub broker: Broker,
    pub health: Health,
    pub limits: PublicLimits,
    pub http: HttpMetrics,
    pub connections: ConnectionMetrics,
    pub resets_told: Counters<ResetReason>,
}

/// Bounds of requests.
#[derive(Clone, Copy, Debug)]
pub struct PublicLimits {
    pub subscribe: SubscribeLimits,
    /// Bytes of an event's data.
    pub event_bytes: usize,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// Events of a batch.
    pub batch_events: usize,
    /// How long a batch may take to arrive.
    pub batch_wait: Duration,
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

/// Adds the public routes; `page` adds the first page at `/`.
pub fn add(app: &mut web::ServiceConfig, page: bool) {
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
    if page {
        app.route("/", web::get().to(page::page));
    }
    app.default_service(web::to(problem::not_found));
}
