//! The node's canary, put together: its channel, its pass, the way to its own listener.

use std::convert::Infallible;
use std::net::SocketAddr;

use tokio::sync::watch;

use super::settings::node_name;
use super::tls::{Certificate, TlsError};
use crate::broker::canary::channel;
use crate::canary::{Canary, CanarySettings, Door, Pass, Surroundings};
use crate::config::Config;
use crate::http::routes::EVENTS;
use crate::lifecycle::Drain;

/// What the canary is known by; nothing where it is switched off.
pub(super) fn pass(config: &Config) -> Result<Option<Pass>, String> {
    if !config.canary.enabled {
        return Ok(None);
    }
    let channel = channel(&node_name(config));
    let channel = channel.map_err(|error| format!("canary.enabled: no channel: {error}"))?;
    Ok(Some(Pass::new(channel)))
}

/// The canary of the listener that is bound there and shows this certificate; nothing where it is switched off.
pub(super) fn canary(
    config: &Config,
    (bound, certificate): (SocketAddr, Option<&Certificate>),
    given: Option<(Pass, Surroundings)>,
) -> Result<Option<Canary>, TlsError> {
    let Some((pass, around)) = given else {
        return Ok(None);
    };
    let tls = certificate.map(Certificate::own_client).transpose()?;
    around.metrics.enabled.set(1);
    let settings = CanarySettings {
        interval: config.canary.interval,
        timeout: config.canary.timeout,
        heartbeat: config.stream.heartbeat,
    };
    let door = Door::new(bound, EVENTS, tls, pass.clone());
    Ok(Some(Canary::new(settings, door, pass, around)))
}

/// Runs it until the node begins to leave; without one it only waits.
pub(super) async fn run(
    canary: Option<Canary>,
    mut draining: watch::Receiver<Option<Drain>>,
) -> Infallible {
    let leaving = async {
        // A node without a drain to come is gone already.
        drop(draining.wait_for(Option::is_some).await);
    };
    match canary {
        Some(canary) => canary.run(leaving).await,
        None => std::future::pending().await,
    }
}
