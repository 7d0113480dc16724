//! `GET /v1/channels/{channel}/events`: a page of what is kept, and the place from which any other way of reading goes
//! on. Refuses to guess: a place that the chain does not prove is told as a reset.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use sluice_wire::channel::Channel;
use sluice_wire::cursor::Cursor;
use sluice_wire::event::Event;
use sluice_wire::sse::{EventView, envelope_json};

use super::credentials::{count_denied, recognise_reader};
use super::problem::{Code, Problem};
use super::routes::Public;
use super::{admission, params};
use crate::auth::Action;
use crate::broker::history::{LookError, Page, PageStart};
use crate::reasons::LimitName;

/// Answers a page of the channel's history as JSON; to HEAD with the same head and no body.
///
/// # Errors
/// A [`Problem`]: 400, 401, 403; 500 when the channel's keys are broken; 503 when the broker is away.
pub async fn get(request: HttpRequest, public: web::Data<Public>) -> Result<HttpResponse, Problem> {
    let channel = params::channel("channel", request.match_info().query("channel"))?;
    admission::attempt(&request, &public)?;
    let given = Given::read(request.query_string(), request.headers());
    let limit = given
        .limit
        .as_deref()
        .map_or(Ok(params::LIMIT_DEFAULT), params::limit)?;
    // What cannot be understood is refused before a ticket is spent on it, and though the broker be away.
    prove(&given, &public)?;
    allow(&request, &channel, &public).await?;
    let start = start(&given, &channel, &public).await?;
    let mut items = Items::new(&channel, public.limits.page_bytes);
    let page = public
        .broker
        .page(&channel, start, limit as usize, |event| items.take(event))
        .await?;
    if let Some(reset) = &page.reset {
        public.resets_told.of(reset.reason).inc();
    }
    if items.cut {
        public.limit_metrics.hits.of(LimitName::PageBytes).inc();
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(items.body(&page)))
}

async fn allow(request: &HttpRequest, channel: &Channel, public: &Public) -> Result<(), Problem> {
    let grant = recognise_reader(request, public).await?;
    count_denied(grant.check(Action::Subscribe, channel), public)?;
    Ok(())
}

/// The parameters as given; an empty one is not given.
#[derive(Default)]
struct Given {
    cursor: Option<String>,
    since: Option<String>,
    last: Option<String>,
    limit: Option<String>,
}

impl Given {
    fn read(query: &str, headers: &HeaderMap) -> Given {
        let mut given = Given::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match name.as_ref() {
                "last_event_id" => &mut given.cursor,
                "since" => &mut given.since,
                "last" => &mut given.last,
                "limit" => &mut given.limit,
                _ => continue,
            };
            *slot = (!value.is_empty()).then(|| value.into_owned());
        }
        if let Some(header) = headers.get("Last-Event-ID")
            && !header.is_empty()
        {
            given.cursor = Some(String::from_utf8_lossy(header.as_bytes()).into_owned());
        }
        given
    }
}

/// Of several starts the first counts, as for a stream.
async fn start(given: &Given, channel: &Channel, public: &Public) -> Result<PageStart, Problem> {
    if let Some(text) = &given.cursor {
        return Ok(after(text, channel));
    }
    if let Some(text) = &given.since {
        // Positions are made with the broker's clock, and a node without streams has no reason to know it.
        let now = UNIX_EPOCH + Duration::from_millis(public.broker.time().await?);
        return Ok(PageStart::Since(params::since(text, now)?));
    }
    let Some(text) = &given.last else {
        return Ok(PageStart::Oldest);
    };
    Ok(PageStart::Last(last(text)?))
}

/// Whether the start that counts can be understood.
fn prove(given: &Given, public: &Public) -> Result<(), Problem> {
    match (&given.cursor, &given.since, &given.last) {
        // Any cursor can: what it is worth is told as a reset.
        (Some(_), _, _) | (None, None, None) => Ok(()),
        (None, Some(text), _) => {
            let now = UNIX_EPOCH + Duration::from_millis(public.broker.clock().wall());
            params::since(text, now).map(|_| ())
        }
        (None, None, Some(text)) => last(text).map(|_| ()),
    }
}

fn last(text: &str) -> Result<u32, Problem> {
    let count: u64 = text.parse().map_err(|_| {
        let detail = "`last` is a number of events, such as 10";
        Problem::new(Code::BadParameter, detail).at("last", text)
    })?;
    let most = params::LIMIT_MOST;
    Ok(u32::try_from(count).unwrap_or(most).min(most))
}

/// A cursor of several channels serves too, if it has a place for this one.
fn after(text: &str, channel: &Channel) -> PageStart {
    let place = match Cursor::parse(text) {
        Ok(Cursor::Bare(place)) => Some(place),
        Ok(Cursor::Many(places)) => places.get(channel),
        Err(_) => None,
    };
    place.map_or(PageStart::Unreadable, PageStart::After)
}

/// The events of a page, as they are sent.
struct Items<'a> {
    channel: &'a Channel,
    json: Vec<u8>,
    most_bytes: usize,
    /// An event was left to the next page.
    cut: bool,
}

impl Items<'_> {
    fn new(channel: &Channel, most_bytes: usize) -> Items<'_> {
        Items {
            channel,
            json: Vec::new(),
            most_bytes,
            cut: false,
        }
    }

    /// Whether there was room; there always is for the first event.
    fn take(&mut self, event: &Event) -> bool {
        let view = EventView {
            event_type: event.event_type.as_deref(),
            event_id: event.event_id.as_deref(),
            data: &event.data,
            traceparent: event.traceparent,
        };
        let item = envelope_json(self.channel, &event.position.to_string(), &view);
        if !self.json.is_empty() {
            if self.json.len() + 1 + item.len() > self.most_bytes {
                self.cut = true;
                return false;
            }
            self.json.push(b',');
        }
        self.json.extend_from_slice(&item);
        true
    }

    /// `{"channel","events","cursor","head","more"}`, and `reset` when there is one.
    fn body(self, page: &Page) -> Vec<u8> {
        let after = After {
            cursor: page.cursor.map(|place| place.to_string()),
            head: page.head.map(|place| place.to_string()),
            more: page.more,
            reset: page.reset.map(|reset| Reset {
                channel: self.channel.as_str(),
                reason: reset.reason.as_label(),
                from: reset.from.map(|place| place.to_string()),
                to: reset.to.map(|place| place.to_string()),
            }),
        };
        // Texts and a truth value only: this cannot fail.
        let after = serde_json::to_vec(&after).unwrap_or_default();
        // A channel's name has no character that JSON escapes.
        let mut body = format!(r#"{{"channel":"{}","events":["#, self.channel).into_bytes();
        body.extend_from_slice(&self.json);
        body.extend_from_slice(b"],");
        body.extend_from_slice(after.get(1..).unwrap_or_default());
        body
    }
}

/// The members that follow the events.
#[derive(Serialize)]
struct After<'a> {
    cursor: Option<String>,
    head: Option<String>,
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<Reset<'a>>,
}

#[derive(Serialize)]
struct Reset<'a> {
    channel: &'a str,
    reason: &'a str,
    from: Option<String>,
    to: Option<String>,
}

impl From<LookError> for Problem {
    fn from(error: LookError) -> Problem {
        match error {
            LookError::Unavailable => {
                Problem::new(Code::BrokerUnavailable, format!("{error}; try again"))
                    .retry_after(Duration::from_secs(1))
            }
            LookError::Unreadable => Problem::new(Code::Internal, error.to_string()),
        }
    }
}
