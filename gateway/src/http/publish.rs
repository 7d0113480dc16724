//! `POST /v1/channels/{channel}/events`: one event, the raw body its data.

use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use sluice_wire::channel::Channel;
use sluice_wire::position::Position;

use super::admission::Publishing;
use super::credentials::{count_denied, recognise};
use super::problem::{Code, Problem};
use super::routes::Public;
use super::{body, params, told};
use crate::auth::{Action, AuthError};
use crate::broker::{Publication, PublishError};
use crate::reasons::{LimitName, PublishOutcome};

/// Publishes the body as one event and answers `201` with its position.
/// `Sluice-Event` gives the type, `Idempotency-Key` the event id.
///
/// # Errors
/// A [`Problem`]: 400, 401, 403, 408, 409, 413; 503 when the broker is away or
/// its answer is lost.
pub async fn post(
    request: HttpRequest,
    payload: web::Payload,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    let told = told::Publishing::begin(request.headers());
    let attempt = publish(&request, payload, told.traceparent(), &public).await;
    let (outcome, answer) = match attempt {
        Ok(published) => (PublishOutcome::Accepted, Ok(published)),
        Err((outcome, problem)) => (outcome, Err(problem)),
    };
    public.http.published.of(outcome).inc();
    told.one(outcome, answer.as_ref().map(|(_, position)| *position));
    let (channel, position) = answer?;
    let answer = json!({ "channel": channel.as_str(), "id": position.to_string() });
    Ok(HttpResponse::Created().json(answer))
}

async fn publish(
    request: &HttpRequest,
    payload: web::Payload,
    traceparent: Option<String>,
    public: &Public,
) -> Result<(Channel, Position), (PublishOutcome, Problem)> {
    let refused = |problem: Problem| (PublishOutcome::Refused, problem);
    let forbidden = |error: AuthError| (PublishOutcome::Forbidden, Problem::from(error));
    let name = request.match_info().query("channel");
    let channel = params::channel("channel", name).map_err(refused)?;
    let headers = request.headers();
    let grant = recognise(request, public).await.map_err(forbidden)?;
    count_denied(grant.check(Action::Publish, &channel), public).map_err(forbidden)?;
    body::check_encoding(headers).map_err(refused)?;
    let event_type = text(headers, "Sluice-Event").map_err(refused)?;
    let event_id = text(headers, "Idempotency-Key").map_err(refused)?;
    let counted = Publishing::new(request, &grant, public).take();
    counted.map_err(|problem| (PublishOutcome::Limited, problem))?;
    let limits = public.limits;
    let data = body::read(payload, limits.event_bytes, limits.body_wait)
        .await
        .map_err(|problem| problem.of_another_limit(LimitName::BodyBytes, LimitName::EventBytes))
        .map_err(refused)?;
    let publication = Publication {
        channel: channel.clone(),
        event_type,
        event_id,
        traceparent,
        data,
    };
    let position = public.broker.publish(publication).await;
    let position = position.map_err(|error| (outcome(&error), problem(error)))?;
    Ok((channel, position))
}

fn outcome(error: &PublishError) -> PublishOutcome {
    match error {
        PublishError::Refused(_) => PublishOutcome::Refused,
        PublishError::Unavailable | PublishError::Unknown | PublishError::NotTried => {
            PublishOutcome::Unavailable
        }
    }
}

fn problem(error: PublishError) -> Problem {
    match error {
        PublishError::Refused(refusal) => refusal.into(),
        PublishError::Unavailable | PublishError::Unknown | PublishError::NotTried => {
            let detail =
                format!("{error}; try again, with an Idempotency-Key so that it cannot be doubled");
            Problem::new(Code::BrokerUnavailable, detail)
                .retry_after(std::time::Duration::from_secs(1))
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => {
            let shown = String::from_utf8_lossy(value.as_bytes()).into_owned();
            Err(Problem::new(Code::BadParameter, "the header is not UTF-8").at(name, &shown))
        }
    }
}
