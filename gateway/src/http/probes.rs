//! The admin listener's probes and metrics. They answer from memory: none of them asks Redis, and liveness is about
//! this process only, since a restart would mend nothing and drop every stream.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::problem::{self, Code, Problem};
use crate::health::{Broker, Health, Phase, Readiness};
use crate::metrics::Metrics;
use crate::revocations::Revocations;
use crate::version;

/// What the probes report on.
#[derive(Clone)]
pub struct Probes {
    health: Health,
    metrics: Metrics,
    revocations: Arc<Revocations>,
}

impl Probes {
    pub fn new(health: Health, metrics: Metrics, revocations: Arc<Revocations>) -> Probes {
        let (told, ready) = (health.clone(), metrics.node.ready.clone());
        metrics.at_scrape(move || ready.set(i64::from(told.readiness() == Readiness::Ready)));
        Probes {
            health,
            metrics,
            revocations,
        }
    }

    /// Adds `/livez`, `/readyz`, `/healthz` and `/metrics`: `App::new().configure(|app| probes.routes(app))`.
    pub fn routes(&self, app: &mut web::ServiceConfig) {
        app.app_data(web::Data::new(self.clone()))
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/healthz", web::get().to(healthz))
            .route("/metrics", web::get().to(metrics))
            .default_service(web::to(problem::not_found));
    }

    fn report(&self, readiness: Readiness) -> serde_json::Value {
        let phase = match self.health.phase() {
            Phase::Starting => "starting",
            Phase::Started => "started",
            Phase::Draining => "draining",
        };
        let broker = match self.health.broker() {
            Broker::Connected => json!({"state": "connected"}),
            Broker::Away(since) => json!({"state": "away", "seconds": since.elapsed().as_secs()}),
        };
        json!({
            "status": readiness.as_str(),
            "phase": phase,
            "broker": broker,
            "revocations": if self.revocations.is_known() { "known" } else { "unknown" },
            "version": version::VERSION,
            "commit": version::COMMIT,
        })
    }
}

/// 200 while the process answers.
async fn livez() -> HttpResponse {
    answer(StatusCode::OK, &json!({"status": "alive"}))
}

/// 200 when the node should get new connections, else 503 and why not.
async fn readyz(probes: web::Data<Probes>) -> HttpResponse {
    let readiness = probes.health.readiness();
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        Readiness::Starting | Readiness::Draining | Readiness::BrokerAway => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    answer(status, &probes.report(readiness))
}

/// The same report as `/readyz`, for people and dashboards: always 200, like `/livez`.
async fn healthz(probes: web::Data<Probes>) -> HttpResponse {
    answer(StatusCode::OK, &probes.report(probes.health.readiness()))
}

/// Metrics as Prometheus text.
async fn metrics(probes: web::Data<Probes>) -> Result<HttpResponse, Problem> {
    let text = probes
        .metrics
        .render()
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, Metrics::CONTENT_TYPE))
        .body(text))
}

fn answer(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body)
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use prometheus::Registry;

    use super::*;
    use crate::config::HealthConfig;

    async fn get(probes: &Probes, path: &str) -> (u16, String) {
        let service = init_service(App::new().configure(|app| probes.routes(app))).await;
        let response = call_service(&service, TestRequest::with_uri(path).to_request()).await;
        let status = response.status().as_u16();
        let body = read_body(response).await;
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    /// Readiness follows the node's life; liveness does not, and the broker's absence changes neither.
    #[actix_web::test]
    async fn probes_follow_the_life_of_the_node() {
        let health = Health::new(&HealthConfig { redis_grace: None });
        let metrics = Metrics::register(&Registry::new()).expect("registers");
        let revocations = Arc::new(Revocations::new(false));
        let probes = Probes::new(health.clone(), metrics, Arc::clone(&revocations));
        let (_, body) = get(&probes, "/healthz").await;
        assert!(body.contains("\"revocations\":\"unknown\""), "{body}");
        revocations.replace(std::iter::empty());
        let (_, body) = get(&probes, "/healthz").await;
        assert!(body.contains("\"revocations\":\"known\""), "{body}");
        let (status, body) = get(&probes, "/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains("\"status\":\"starting\""), "{body}");
        health.broker_connected();
        assert_eq!(get(&probes, "/readyz").await.0, 200);
        health.broker_away();
        let (status, body) = get(&probes, "/readyz?verbose").await;
        assert_eq!(status, 200);
        assert!(body.contains("\"state\":\"away\""), "{body}");
        health.drain();
        let (status, body) = get(&probes, "/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains("\"status\":\"draining\""), "{body}");
        assert_eq!(get(&probes, "/livez").await.0, 200);
        assert_eq!(get(&probes, "/healthz").await.0, 200);
    }

    #[actix_web::test]
    async fn metrics_are_served_and_other_paths_are_problems() {
        let metrics = Metrics::register(&Registry::new()).expect("registers");
        let health = Health::new(&HealthConfig { redis_grace: None });
        let probes = Probes::new(health, metrics, Arc::new(Revocations::new(true)));
        let (status, body) = get(&probes, "/metrics").await;
        assert_eq!(status, 200);
        assert!(body.contains("sluice_build_info{commit="), "{body}");
        let (status, body) = get(&probes, "/nothing").await;
        assert_eq!(status, 404);
        assert!(body.contains("\"code\":\"not_found\""), "{body}");
    }
}
