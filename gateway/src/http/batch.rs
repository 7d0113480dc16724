//! `POST /v1/publish`: many events, one NDJSON line each. Refuses the whole only before anything is published; from
//! then on every line has an answer of its own.

pub mod line;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix_web::http::header::{self, CONTENT_TYPE, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;
use sluice_wire::channel::Channel;
use sluice_wire::position::Position;
use tokio::sync::SemaphorePermit;

use self::line::Line;
use super::admission::Publishing;
use super::credentials::{count_denied, recognise};
use super::problem::{Code, Problem};
use super::routes::Public;
use super::{body, told};
use crate::auth::{Action, Grant};
use crate::broker::{Publication, PublishError};
use crate::reasons::{LimitName, PublishOutcome};

const NDJSON: &str = "application/x-ndjson";
/// Channels of one batch that are published to at the same time.
const CHANNELS_AT_ONCE: usize = 8;
/// How long a batch goes on to send events; what has not begun by then is answered as unavailable.
const TRY_FOR: Duration = Duration::from_secs(10);
/// When a batch that found no place is to come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// Publishes each line as one event and answers `200` with a line for each, in their order. Events of one channel are
/// published in the order of their lines.
///
/// # Errors
/// A [`Problem`] for the whole, with nothing published: 400, 401, 408, 413, 415, 503.
pub async fn post(
    request: HttpRequest,
    payload: web::Payload,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    let told = told::Publishing::begin(request.headers());
    let accepted = accept(&request, payload, &public).await;
    let Accepted {
        lines,
        grant,
        _permit,
    } = accepted.map_err(|(outcome, problem)| {
        public.http.published.of(outcome).inc();
        problem
    })?;
    let mut answers: Vec<Answer> = Vec::with_capacity(lines.len());
    let mut channels = Channels::default();
    let mut publishing = Publishing::new(&request, &grant, &public);
    for line in lines {
        let Line {
            number,
            channel,
            event,
        } = line;
        let event = event.and_then(|event| allowed(event, &grant, &public));
        let outcome = match event.and_then(|event| publishing.take().map(|()| event)) {
            Ok(event) => {
                let traceparent = event.traceparent.or_else(|| told.traceparent());
                channels.add(
                    answers.len(),
                    Publication {
                        traceparent,
                        ..event
                    },
                );
                None
            }
            Err(problem) => Some(Err(problem)),
        };
        answers.push(Answer {
            number,
            channel,
            outcome,
        });
    }
    channels.publish(&public, &mut answers).await;
    let accepted = |answer: &&Answer| matches!(answer.outcome, Some(Ok(_)));
    told.batch(answers.len(), answers.iter().filter(accepted).count());
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, NDJSON))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text(&answers, &public)))
}

/// A batch whose lines are looked at one by one.
struct Accepted<'a> {
    lines: Vec<Line>,
    grant: Grant,
    /// Held to the end, since so long the body is kept.
    _permit: SemaphorePermit<'a>,
}

/// Why the whole is refused, if it is.
async fn accept<'a>(
    request: &HttpRequest,
    payload: web::Payload,
    public: &'a Public,
) -> Result<Accepted<'a>, (PublishOutcome, Problem)> {
    let refused = |problem: Problem| (PublishOutcome::Refused, problem);
    let grant = recognise(request, public).await;
    let grant = grant.map_err(|error| (PublishOutcome::Forbidden, error.into()))?;
    check_media_type(request.headers()).map_err(refused)?;
    body::check_encoding(request.headers()).map_err(refused)?;
    let limits = public.limits;
    let permit = public.batches.try_acquire().map_err(|_| {
        let most = limits.batches_at_once;
        let detail = format!(
            "this node has {most} batches under way, as many as it may; nothing was published"
        );
        let problem = Problem::new(Code::Overloaded, detail)
            .of_limit(LimitName::BatchesAtOnce)
            .retry_after(COME_AGAIN);
        (PublishOutcome::Unavailable, problem)
    })?;
    let body = body::read(payload, limits.batch_bytes, limits.batch_wait).await;
    let body = body
        .map_err(|problem| problem.of_another_limit(LimitName::BodyBytes, LimitName::BatchBytes));
    let lines = line::read(&body.map_err(refused)?, limits.batch_events);
    let lines = lines.ok_or_else(|| {
        let most = limits.batch_events;
        let detail = format!("the batch has more than {most} events; nothing was published");
        refused(Problem::new(Code::BodyTooLarge, detail).of_limit(LimitName::BatchEvents))
    })?;
    Ok(Accepted {
        lines,
        grant,
        _permit: permit,
    })
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(media_type) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = media_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(NDJSON) {
        return Ok(());
    }
    let detail = format!("send the batch as {NDJSON}, one event a line");
    Err(Problem::new(Code::UnsupportedMediaType, detail).at("Content-Type", text))
}

fn allowed(event: Publication, grant: &Grant, public: &Public) -> Result<Publication, Problem> {
    count_denied(grant.check(Action::Publish, &event.channel), public)?;
    Ok(event)
}

/// What is to be published, by channel, each event with the place of its answer.
#[derive(Default)]
struct Channels {
    all: Vec<(Vec<usize>, Vec<Publication>)>,
    by_name: HashMap<Channel, usize>,
}

impl Channels {
    fn add(&mut self, answer: usize, event: Publication) {
        let index = *self
            .by_name
            .entry(event.channel.clone())
            .or_insert_with(|| {
                self.all.push(Default::default());
                self.all.len() - 1
            });
        if let Some((answers, events)) = self.all.get_mut(index) {
            answers.push(answer);
            events.push(event);
        }
    }

    async fn publish(self, public: &Public, answers: &mut [Answer]) {
        let until = Instant::now() + TRY_FOR;
        let mut done = stream::iter(self.all)
            .map(async |(places, events)| (places, public.broker.publish_all(events, until).await))
            .buffer_unordered(CHANNELS_AT_ONCE);
        while let Some((places, outcomes)) = done.next().await {
            for (place, outcome) in places.into_iter().zip(outcomes) {
                if let Some(answer) = answers.get_mut(place) {
                    answer.outcome = Some(outcome.map_err(problem));
                }
            }
        }
    }
}

fn problem(error: PublishError) -> Problem {
    let advice = match error {
        PublishError::Refused(refusal) => return refusal.into(),
        PublishError::Unavailable => "; send it again",
        PublishError::Unknown => "; send it again, with an `event_id` so that it cannot be doubled",
        PublishError::NotTried => "; send it again after that one",
    };
    Problem::new(Code::BrokerUnavailable, format!("{error}{advice}"))
}

/// What becomes of one line.
struct Answer {
    number: usize,
    channel: Option<Channel>,
    /// Nothing until its channel has been published to.
    outcome: Option<Result<Position, Problem>>,
}

#[derive(Serialize)]
struct Answered<'a> {
    line: usize,
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    code: &'a str,
    status: u16,
    detail: &'a str,
}

/// The answers as lines; counts each.
fn text(answers: &[Answer], public: &Public) -> Vec<u8> {
    let mut text = Vec::new();
    // There is an outcome for each: every event of every channel has been given one.
    for (answer, outcome) in answers
        .iter()
        .filter_map(|a| Some((a, a.outcome.as_ref()?)))
    {
        public.http.published.of(counted(outcome)).inc();
        if let Some(limit) = outcome.as_ref().err().and_then(Problem::limit) {
            public.limit_metrics.hits.of(limit).inc();
        }
        let error = outcome.as_ref().err().map(|problem| Told {
            code: problem.code().as_str(),
            status: problem.code().status().as_u16(),
            detail: problem.detail(),
        });
        let answered = Answered {
            line: answer.number,
            channel: answer.channel.as_ref().map(Channel::as_str),
            id: outcome.as_ref().ok().map(Position::to_string),
            error,
        };
        // Texts and numbers only: this cannot fail.
        text.extend(serde_json::to_vec(&answered).unwrap_or_default());
        text.push(b'\n');
    }
    text
}

fn counted(outcome: &Result<Position, Problem>) -> PublishOutcome {
    let Err(problem) = outcome else {
        return PublishOutcome::Accepted;
    };
    match problem.code().status().as_u16() {
        403 => PublishOutcome::Forbidden,
        429 => PublishOutcome::Limited,
        503 => PublishOutcome::Unavailable,
        _ => PublishOutcome::Refused,
    }
}
