//! `reqwest_eventsource URL`: prints what the crate `reqwest-eventsource` makes of a stream.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use reqwest_eventsource::{Event, EventSource};
use serde_json::{Value, json};

fn say(seen: &Value) {
    println!("{seen}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("URL is missing")?;
    // This workspace builds reqwest without a crypto provider of its own.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    // docs: begin
    let mut stream = EventSource::get(url);
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Open) => say(&json!({"kind": "open"})),
            Ok(Event::Message(event)) => say(&json!({
                "kind": "event", "type": event.event, "id": event.id, "data": event.data,
            })),
            // It reconnects by itself, unless the status is not 200.
            Err(error) => say(&json!({"kind": "error", "text": error.to_string()})),
        }
    }
    // docs: end
    say(&json!({"kind": "closed"}));
    Ok(())
}
