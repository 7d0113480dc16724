//! Asking the gateway's admin listener why: a token and a channel, or a stream and an event. What cannot be explained is
//! noted, and the tail goes on.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sluice_wire::{Channel, Cursor, Position};
use tokio::time::timeout;

use crate::args::{Explain, GatewayAddress};
use crate::failure::Failure;
use crate::gateway_link;
use crate::notice::Notice;

/// A way to the admin listener.
pub struct Explainer {
    admin: GatewayAddress,
    client: Client,
    event: Option<Position>,
}

impl Explainer {
    /// # Errors
    /// As [`gateway_link::client`].
    pub fn new(job: Explain) -> Result<Explainer, Failure> {
        Ok(Explainer {
            client: gateway_link::client(&job.admin)?,
            admin: job.admin,
            event: job.event,
        })
    }

    /// Whether one event was named.
    pub fn has_event(&self) -> bool {
        self.event.is_some()
    }

    /// Why the gateway's token may or may not read each channel.
    pub async fn token(&self, gateway: &GatewayAddress, channels: &[Channel]) -> Vec<Notice> {
        let mut notices = Vec::new();
        for channel in channels {
            let mut question = json!({"channel": channel.as_str(), "action": "subscribe"});
            if let Some(token) = &gateway.token {
                question["token"] = token.expose().into();
            }
            match self.ask(&question).await {
                Ok(mut answer) => {
                    answer["channel"] = channel.as_str().into();
                    notices.push(Notice::Explain(answer));
                }
                Err(failure) => {
                    notices.push(cannot(&failure));
                    break;
                }
            }
        }
        notices
    }

    /// What became of the event in question on a stream, or else of the last one that `cursor` knows of each channel.
    pub async fn events(
        &self,
        connection: &str,
        channels: &[Channel],
        cursor: &str,
    ) -> Vec<Notice> {
        let cursor = Cursor::parse(cursor).ok();
        let mut notices = Vec::new();
        for channel in channels {
            let last = match &cursor {
                Some(Cursor::Bare(place)) => Some(*place),
                Some(Cursor::Many(places)) => places.get(channel),
                None => None,
            };
            let Some(event) = self.event.or(last.filter(|place| !place.is_genesis())) else {
                continue;
            };
            let question = json!({
                "connection": connection,
                "channel": channel.as_str(),
                "id": event.to_string(),
            });
            match self.ask(&question).await {
                Ok(answer) => notices.push(Notice::Explain(answer)),
                Err(failure) => {
                    notices.push(cannot(&failure));
                    break;
                }
            }
        }
        notices
    }

    async fn ask(&self, question: &Value) -> Result<Value, Failure> {
        let asking = async {
            let url = gateway_link::url(&self.admin, &["admin", "explain"]);
            let sent = self
                .client
                .post(url)
                .header(CONTENT_TYPE, "application/json")
                .body(question.to_string())
                .send()
                .await;
            let response = sent.map_err(|error| {
                gateway_link::unreachable(&self.admin, gateway_link::cause(&error))
            })?;
            if response.status() != StatusCode::OK {
                return Err(gateway_link::refusal(&self.admin, response).await);
            }
            let body = gateway_link::body(response)
                .await
                .map_err(Failure::failed)?;
            serde_json::from_slice(&body)
                .map_err(|_| Failure::failed("the answer is not what an admin listener gives"))
        };
        timeout(self.admin.timeout, asking)
            .await
            .unwrap_or_else(|_| Err(gateway_link::no_answer(&self.admin)))
    }
}

fn cannot(failure: &Failure) -> Notice {
    Notice::Note(format!("cannot be explained: {failure}"))
}

/// An explanation in words, on one line.
pub fn words(answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    let channel = text("channel");
    if answer.get("verdict").is_some() {
        return format!("{channel} {}: {}", text("id"), text("detail"));
    }
    let steps: Vec<&Value> = answer["steps"].as_array().into_iter().flatten().collect();
    let detail = |step: &Value| step["detail"].as_str().unwrap_or_default().to_owned();
    if answer["allowed"] == true {
        let last = steps.last().map(|step| detail(step)).unwrap_or_default();
        return format!("{channel}: the token may read it: {last}");
    }
    let check = |step: &&Value| step["check"].as_str().unwrap_or_default().to_owned();
    let is_good = |step: &&Value| step["ok"] == true;
    let passed: Vec<String> = steps
        .iter()
        .copied()
        .filter(is_good)
        .map(|s| check(&s))
        .collect();
    let failed = steps.iter().copied().filter(|step| !is_good(step));
    let failed: Vec<String> = failed
        .map(|s| format!("{}: {}", check(&s), detail(s)))
        .collect();
    let passed = match passed.as_slice() {
        [] => String::new(),
        some => format!("; good so far: {}", some.join(", ")),
    };
    format!(
        "{channel}: the token may not read it ({}): {}{passed}",
        text("code"),
        failed.join("; ")
    )
}
