//! Publishing through the gateway: one POST per event, channels side by side, each channel in order.

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use sluice_wire::Channel;
use tokio::time::{Instant, sleep, timeout_at};

use crate::args::GatewayAddress;
use crate::backoff::Backoff;
use crate::failure::{Failure, no_answer_within};
use crate::gateway_link;
use crate::publish::{Outcome, Outgoing, Published};
use crate::redis_link::{RETRY_FIRST, RETRY_MOST};

/// Requests under way at once.
const REQUESTS: usize = 16;

/// Publishes through one gateway.
pub struct GatewayPublisher {
    address: GatewayAddress,
    client: Client,
}

/// A reply to a publish.
#[derive(Deserialize)]
struct Receipt {
    id: String,
    #[serde(default)]
    repeated: bool,
}

impl GatewayPublisher {
    /// # Errors
    /// As [`gateway_link::client`].
    pub fn new(address: GatewayAddress) -> Result<GatewayPublisher, Failure> {
        Ok(GatewayPublisher {
            client: gateway_link::client(&address)?,
            address,
        })
    }

    /// What became of each event, in order.
    pub async fn publish(&self, batch: &[Outgoing]) -> Vec<Outcome> {
        let mut by_channel: Vec<(&Channel, Vec<usize>)> = Vec::new();
        let mut group_of = std::collections::HashMap::new();
        for (at, event) in batch.iter().enumerate() {
            let group = *group_of.entry(&event.channel).or_insert_with(|| {
                by_channel.push((&event.channel, Vec::new()));
                by_channel.len() - 1
            });
            by_channel[group].1.push(at);
        }
        let groups = by_channel
            .into_iter()
            .map(|(_, places)| self.publish_in_order(batch, places));
        let mut outcomes: Vec<(usize, Outcome)> = stream::iter(groups)
            .buffer_unordered(REQUESTS)
            .flat_map(stream::iter)
            .collect()
            .await;
        outcomes.sort_unstable_by_key(|(at, _)| *at);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// One channel's events, one after the other. After silence, a refusal of everything, or one that will pass, the rest is
    /// not sent.
    async fn publish_in_order(
        &self,
        batch: &[Outgoing],
        places: Vec<usize>,
    ) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(places.len());
        let mut ended: Option<Failure> = None;
        for at in places {
            let outcome = match &ended {
                Some(failure) => Err(failure.clone()),
                None => self.publish_one(&batch[at]).await,
            };
            ended = match &outcome {
                Err(Failure::Unavailable {
                    status,
                    code,
                    detail,
                }) if ended.is_none() => Some(Failure::Unavailable {
                    status: *status,
                    code: code.clone(),
                    detail: format!(
                        "not tried after an event of this channel that failed: {detail}"
                    ),
                }),
                Err(failure) if failure.ends_the_batch() || ended.is_some() => {
                    Some(failure.clone())
                }
                Ok(_) | Err(_) => None,
            };
            outcomes.push((at, outcome));
        }
        outcomes
    }

    /// Sends one event, again when it surely was not published or has an id, until the address's timeout.
    async fn publish_one(&self, event: &Outgoing) -> Outcome {
        let deadline = Instant::now() + self.address.timeout;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            let (failure, asked_wait) = match timeout_at(deadline, self.post(event)).await {
                Ok(Ok(response)) if response.status().is_success() => {
                    return self.receipt(event, response).await;
                }
                Ok(Ok(response)) => {
                    let status = response.status();
                    let wait = gateway_link::retry_after(response.headers());
                    let failure = gateway_link::refusal(&self.address, response).await;
                    let not_published =
                        status == StatusCode::TOO_MANY_REQUESTS || event.event_id.is_some();
                    if !gateway_link::may_pass(status) || !not_published {
                        return Err(failure);
                    }
                    (failure, wait)
                }
                Ok(Err(error)) if error.is_connect() => (
                    gateway_link::unreachable(&self.address, gateway_link::cause(&error)),
                    None,
                ),
                Ok(Err(error)) => (self.lost(event, gateway_link::cause(&error), false), None),
                Err(_) => (
                    self.lost(event, no_answer_within(self.address.timeout), true),
                    None,
                ),
            };
            let wait = asked_wait.unwrap_or_else(|| backoff.next_wait());
            let final_word = matches!(failure, Failure::OutcomeUnknown { .. });
            if final_word || Instant::now() + wait >= deadline {
                return Err(failure);
            }
            sleep(wait).await;
        }
    }

    async fn post(&self, event: &Outgoing) -> reqwest::Result<Response> {
        let url = gateway_link::url(
            &self.address,
            &["v1", "channels", event.channel.as_str(), "events"],
        );
        let mut request = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some(event_type) = &event.event_type {
            request = request.header("Sluice-Event", event_type.as_bytes());
        }
        if let Some(event_id) = &event.event_id {
            request = request.header("Idempotency-Key", event_id.as_bytes());
        }
        if let Some(traceparent) = event.traceparent {
            request = request.header("traceparent", traceparent.to_string());
        }
        request.body(event.data.clone()).send().await
    }

    /// The request left and no reply came.
    fn lost(&self, event: &Outgoing, cause: String, silent: bool) -> Failure {
        if event.event_id.is_some() {
            return gateway_link::unreachable(&self.address, cause);
        }
        Failure::OutcomeUnknown {
            target: self.address.to_string(),
            cause,
            silent,
        }
    }

    async fn receipt(&self, event: &Outgoing, response: Response) -> Outcome {
        let deadline = Instant::now() + self.address.timeout;
        let body = match timeout_at(deadline, gateway_link::body(response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(cause)) => return Err(self.lost(event, cause, false)),
            Err(_) => return Err(self.lost(event, no_answer_within(self.address.timeout), true)),
        };
        let receipt = serde_json::from_slice::<Receipt>(&body).ok();
        let position = receipt.as_ref().and_then(|receipt| receipt.id.parse().ok());
        match (position, receipt) {
            (Some(position), Some(receipt)) => Ok(Published {
                position,
                repeated: receipt.repeated,
            }),
            _ => Err(Failure::Failed {
                what: format!("{} answered a publish with no position", self.address),
                hint: Some("is --gateway the address of a Sluice gateway?".into()),
            }),
        }
    }
}
