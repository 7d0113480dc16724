//! Following channels through the gateway's event stream: reads blocks, comes back with the last id when it ends.

use std::future::pending;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use sluice_wire::Channel;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::args::{GatewayAddress, Start};
use crate::backoff::Backoff;
use crate::explain::Explainer;
use crate::failure::Failure;
use crate::gateway_link;
use crate::notice::{Notice, Reset};
use crate::sse::{Block, Parser};
use crate::tail::{Next, Printer, ndjson_line};

/// A stream that is silent for so long is taken for dead: several of the gateway's heartbeats (15 s by default).
const SILENCE: Duration = Duration::from_secs(60);
/// How long after a stream has opened it is asked what became of the event in question.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// The wait before coming back, until the gateway names another, and the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// What is kept between connections.
struct Follower {
    address: GatewayAddress,
    client: Client,
    channels: Vec<Channel>,
    start: Start,
    json: bool,
    /// The id of the last block, with which the next connection goes on.
    last_event_id: String,
    backoff: Backoff,
    printer: Printer,
    explain: Option<Explaining>,
}

/// What is explained of the stream that is open.
struct Explaining {
    explainer: Explainer,
    /// The stream's name, once it is told.
    connection: Option<String>,
    /// When to look what has become of the event in question.
    due: Option<Instant>,
}

/// Prints events until the printer has enough.
///
/// # Errors
/// The first connection fails, or a later one is refused for good.
pub async fn follow(
    address: GatewayAddress,
    channels: Vec<Channel>,
    start: Start,
    json: bool,
    printer: Printer,
) -> Result<(), Failure> {
    let follower = Follower::new(address, channels, start, json, printer)?;
    follower.run().await
}

/// The same, and explains on standard error: the token before the first connection, and events.
///
/// # Errors
/// As [`follow`].
pub async fn explain(
    address: GatewayAddress,
    channels: Vec<Channel>,
    start: Start,
    json: bool,
    printer: Printer,
    explainer: Explainer,
) -> Result<(), Failure> {
    let mut follower = Follower::new(address, channels, start, json, printer)?;
    for notice in explainer.token(&follower.address, &follower.channels).await {
        follower.printer.notice(&notice)?;
    }
    follower.explain = Some(Explaining {
        explainer,
        connection: None,
        due: None,
    });
    follower.run().await
}

impl Follower {
    fn new(
        address: GatewayAddress,
        channels: Vec<Channel>,
        start: Start,
        json: bool,
        printer: Printer,
    ) -> Result<Follower, Failure> {
        Ok(Follower {
            client: gateway_link::client(&address)?,
            address,
            channels,
            start,
            json,
            last_event_id: String::new(),
            backoff: Backoff::new(RETRY_FIRST, RETRY_MOST),
            printer,
            explain: None,
        })
    }

    async fn run(mut self) -> Result<(), Failure> {
        let mut response = self.connect().await?;
        loop {
            let (next, why) = self.read(response).await?;
            self.explain_events().await?;
            if next == Next::Stop {
                return Ok(());
            }
            response = self.reconnect(why).await?;
        }
    }

    /// Says what became of the event in question, or of the last ones, on the stream that is open or has just ended.
    async fn explain_events(&mut self) -> Result<(), Failure> {
        let Some(explain) = &mut self.explain else {
            return Ok(());
        };
        explain.due = None;
        let Some(connection) = &explain.connection else {
            return Ok(());
        };
        let (channels, cursor) = (&self.channels, &self.last_event_id);
        for notice in explain.explainer.events(connection, channels, cursor).await {
            self.printer.notice(&notice)?;
        }
        Ok(())
    }

    /// A stream has told its name: an event that was asked for is looked after once replay has had its time.
    fn opened(&mut self, data: &str) {
        let Some(explain) = &mut self.explain else {
            return;
        };
        let name = serde_json::from_str::<Open>(data).ok();
        let name = name.map(|open| open.connection);
        if name.is_some() && name != explain.connection {
            explain.connection = name;
            let named = explain.explainer.has_event();
            explain.due = named.then(|| Instant::now() + LOOK_AFTER);
        }
    }

    async fn connect(&self) -> Result<Response, Failure> {
        let sent = timeout(self.address.timeout, self.request().send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                return Err(gateway_link::unreachable(
                    &self.address,
                    gateway_link::cause(&error),
                ));
            }
            Err(_) => return Err(gateway_link::no_answer(&self.address)),
        };
        match response.status() {
            StatusCode::OK => {}
            // WHATWG HTML 9.2.3: 204 tells a client to stop coming back.
            StatusCode::NO_CONTENT => {
                return Err(Failure::failed(format!(
                    "{} has no stream to give (204)",
                    self.address
                )));
            }
            _ => {
                let refusal = gateway_link::refusal(&self.address, response);
                return Err(timeout(self.address.timeout, refusal)
                    .await
                    .unwrap_or_else(|_| gateway_link::no_answer(&self.address)));
            }
        }
        let kind = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return Err(Failure::Failed {
                what: format!(
                    "{} answered with {}, not an event stream",
                    self.address,
                    kind.unwrap_or("no content type")
                ),
                hint: Some("is --gateway the address of a Sluice gateway?".into()),
            });
        }
        Ok(response)
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let mut url = gateway_link::url(&self.address, &["v1", "events"]);
        {
            let mut query = url.query_pairs_mut();
            for channel in &self.channels {
                query.append_pair("channel", channel.as_str());
            }
            if self.json {
                query.append_pair("envelope", "json");
            }
            match &self.start {
                _ if !self.last_event_id.is_empty() => {}
                Start::Since(since) => {
                    query.append_pair("since", &since.parameter());
                }
                Start::Last(count) => {
                    query.append_pair("last", &count.to_string());
                }
                Start::Default | Start::From { .. } => {}
            }
        }
        let request = self
            .client
            .get(url)
            .header(header::ACCEPT, "text/event-stream");
        match &self.start {
            _ if !self.last_event_id.is_empty() => {
                request.header("Last-Event-ID", &self.last_event_id)
            }
            Start::From { text, .. } => request.header("Last-Event-ID", text),
            Start::Default | Start::Since(_) | Start::Last(_) => request,
        }
    }

    /// Comes back, as often as it takes; only a refusal ends it.
    async fn reconnect(&mut self, mut why: String) -> Result<Response, Failure> {
        loop {
            let wait = self.backoff.next_wait();
            let shown = humantime::format_duration(Duration::from_millis(
                u64::try_from(wait.as_millis()).unwrap_or(0),
            ));
            let back = Notice::Note(format!("{why}; coming back in {shown}"));
            self.printer.notice(&back)?;
            sleep(wait).await;
            match self.connect().await {
                Err(failure) if failure.is_unreachable() => why = failure.to_string(),
                settled => return settled,
            }
        }
    }

    /// Reads one stream to its end and says why it ended.
    async fn read(&mut self, mut response: Response) -> Result<(Next, String), Failure> {
        let (mut parser, mut blocks) = (Parser::default(), Vec::new());
        loop {
            if self.printer.flush()? == Next::Stop {
                return Ok((Next::Stop, String::new()));
            }
            let due = self.explain.as_ref().and_then(|explain| explain.due);
            let chunk = tokio::select! {
                chunk = timeout(SILENCE, response.chunk()) => chunk,
                () = until(due) => {
                    self.explain_events().await?;
                    continue;
                }
            };
            let why = match chunk {
                Ok(Ok(Some(chunk))) => parser
                    .feed(&chunk, &mut blocks)
                    .err()
                    .map(|error| error.to_string()),
                Ok(Ok(None)) => Some("the gateway ended the stream".to_owned()),
                Ok(Err(error)) => {
                    Some(format!("the stream broke: {}", gateway_link::cause(&error)))
                }
                Err(_) => Some(format!(
                    "the stream was silent for {}",
                    humantime::format_duration(SILENCE)
                )),
            };
            for block in blocks.drain(..) {
                // Any block shows a gateway that serves us.
                self.backoff.reset();
                if !block.id.is_empty() {
                    self.last_event_id.clone_from(&block.id);
                }
                if self.block(&block)? == Next::Stop {
                    return Ok((Next::Stop, String::new()));
                }
            }
            if let Some(retry) = parser.take_retry() {
                self.backoff.set_first(retry);
            }
            if !parser.last_event_id().is_empty() {
                parser.last_event_id().clone_into(&mut self.last_event_id);
            }
            if let Some(why) = why {
                return Ok((Next::More, why));
            }
        }
    }

    fn block(&mut self, block: &Block) -> Result<Next, Failure> {
        match block.event_type.as_str() {
            "sluice.open" => self.opened(&block.data),
            "sluice.expiring" => {
                let at = serde_json::from_str::<Expiring>(&block.data)
                    .map(|expiring| expiring.expires_at)
                    .unwrap_or_default();
                let note = format!("the token expires at {at}, and the stream ends with it");
                self.printer.notice(&Notice::Note(note))?;
            }
            "sluice.reset" => {
                // Whatever else the gateway says of it is shown as it came.
                let notice = serde_json::from_str::<Reset>(&block.data).map_or_else(
                    |_| Notice::Note(format!("reset: {}", block.data)),
                    Notice::Reset,
                );
                self.printer.notice(&notice)?;
            }
            "sluice.close" => {
                let reason = serde_json::from_str::<Close>(&block.data)
                    .map(|close| close.reason)
                    .unwrap_or_default();
                self.printer.notice(&Notice::Close { reason })?;
            }
            _ if self.json && block.data.starts_with('{') => {
                let line = ndjson_line(&block.id, block.data.as_bytes());
                return self.printer.event(&line);
            }
            _ => return self.printer.event(block.data.as_bytes()),
        }
        Ok(Next::More)
    }
}

/// Waits for a moment, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

#[derive(Deserialize)]
struct Open {
    connection: String,
}

#[derive(Deserialize)]
struct Expiring {
    expires_at: String,
}

#[derive(Deserialize)]
struct Close {
    reason: String,
}
