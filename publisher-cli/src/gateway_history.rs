//! A channel's history through the gateway: `GET /v1/channels/{channel}/events`, page by page.

use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use sluice_wire::sse::EventView;
use sluice_wire::trace::TraceContext;
use sluice_wire::{Position, PositionError};
use tokio::time::timeout;

use crate::args::{GatewayAddress, Start};
use crate::failure::Failure;
use crate::gateway_link;
use crate::history::Printer;
use crate::notice::{Notice, Reset};
use crate::tail::Next;

/// The most events asked for at once: what a gateway allows.
const PAGE_EVENTS: u64 = 1000;
/// The largest page believed in; a gateway's own limit is far below, but for a single large event.
const PAGE_BYTES: usize = 64 * 1024 * 1024;

/// One answer.
#[derive(Deserialize)]
struct Page {
    events: Vec<Item>,
    /// Where the next page begins.
    cursor: Option<String>,
    head: Option<String>,
    more: bool,
    reset: Option<Reset>,
}

/// An event on a page.
#[derive(Deserialize)]
struct Item {
    id: String,
    #[serde(rename = "type")]
    event_type: Option<String>,
    event_id: Option<String>,
    data: String,
    traceparent: Option<String>,
}

/// Prints what is kept from `start` on, up to the head as it was on the first page.
///
/// # Errors
/// The gateway cannot be reached, refuses, or answers something else.
pub async fn read(
    address: GatewayAddress,
    start: &Start,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let client = gateway_link::client(&address)?;
    let mut end: Option<Position> = None;
    let mut cursor: Option<String> = None;
    loop {
        let url = url(&address, start, cursor.as_deref(), printer);
        let page = page(&address, &client, url).await?;
        let odd = |_: PositionError| unreadable(&address, "a place that is no position");
        let head: Option<Position> = page
            .head
            .map(|head| head.parse())
            .transpose()
            .map_err(odd)?;
        if let Some(reset) = page.reset {
            printer.notice(&Notice::Reset(reset))?;
            // What follows may be another chain, with another end.
            end = head;
        }
        let Some(end_at) = end.or(head) else {
            return Ok(());
        };
        end = Some(end_at);
        for item in page.events {
            let position: Position = item.id.parse().map_err(odd)?;
            if position.id() > end_at.id() {
                return Ok(());
            }
            let view = EventView {
                event_type: item.event_type.as_deref(),
                event_id: item.event_id.as_deref(),
                data: item.data.as_bytes(),
                traceparent: item.traceparent.as_deref().and_then(TraceContext::parse),
            };
            let next = printer.event(position, &view)?;
            if position.id() == end_at.id() {
                return Ok(());
            }
            if next == Next::Stop {
                return printer.more(position);
            }
        }
        if !page.more {
            return Ok(());
        }
        if page.cursor.is_none() || page.cursor == cursor {
            return Err(unreadable(
                &address,
                "a page that says there is more, but not where",
            ));
        }
        cursor = page.cursor;
    }
}

fn url(address: &GatewayAddress, start: &Start, cursor: Option<&str>, printer: &Printer) -> Url {
    let mut url = gateway_link::url(
        address,
        &["v1", "channels", printer.channel.as_str(), "events"],
    );
    let mut query = url.query_pairs_mut();
    match (cursor, start) {
        (Some(cursor), _) => {
            query.append_pair("last_event_id", cursor);
        }
        (None, Start::From { text, .. }) => {
            query.append_pair("last_event_id", text);
        }
        (None, Start::Since(since)) => {
            query.append_pair("since", &since.parameter());
        }
        (None, Start::Last(count)) => {
            query.append_pair("last", &count.to_string());
        }
        (None, Start::Default) => {}
    }
    query.append_pair("limit", &printer.wanted(PAGE_EVENTS).to_string());
    drop(query);
    url
}

/// One page, within the address's timeout.
async fn page(address: &GatewayAddress, client: &Client, url: Url) -> Result<Page, Failure> {
    let asked = async {
        let response = client
            .get(url)
            .send()
            .await
            .map_err(|error| gateway_link::unreachable(address, gateway_link::cause(&error)))?;
        match response.status() {
            StatusCode::OK => read_page(address, response).await,
            // The route is there, but only to publish on.
            StatusCode::METHOD_NOT_ALLOWED => Err(Failure::Failed {
                what: format!("{address} is older than the history page"),
                hint: Some("read Redis itself, with --redis".into()),
            }),
            _ => Err(gateway_link::refusal(address, response).await),
        }
    };
    timeout(address.timeout, asked)
        .await
        .unwrap_or_else(|_| Err(gateway_link::no_answer(address)))
}

async fn read_page(address: &GatewayAddress, response: Response) -> Result<Page, Failure> {
    let body = gateway_link::body_within(response, PAGE_BYTES)
        .await
        .map_err(|cause| gateway_link::unreachable(address, cause))?;
    serde_json::from_slice(&body).map_err(|error| unreadable(address, &error.to_string()))
}

fn unreadable(address: &GatewayAddress, what: &str) -> Failure {
    Failure::Failed {
        what: format!("{address} answered with no page of a history: {what}"),
        hint: Some("is --gateway the address of a Sluice gateway?".into()),
    }
}
