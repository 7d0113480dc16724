//! `--explain`, resolved: whom to ask, and about which event.

use sluice_wire::Position;

use super::line::AdminLine;
use super::link::{GatewayAddress, Link, gateway_address};
use crate::failure::Failure;

/// What a tail is to explain.
#[derive(Debug)]
pub struct Explain {
    /// The gateway's admin address, with the token for it.
    pub admin: GatewayAddress,
    /// The event in question; none: the last one of each channel.
    pub event: Option<Position>,
}

/// # Errors
/// There is nobody to ask, or the event is no position.
pub fn resolve(
    asked: Option<&str>,
    line: &AdminLine,
    link: &Link,
) -> Result<Option<Explain>, Failure> {
    let Some(event) = asked else { return Ok(None) };
    let Link::Gateway(gateway) = link else {
        return Err(Failure::usage(
            "--explain is about tokens and streams, which Redis knows nothing of",
            "pass --gateway URL and --admin URL",
        ));
    };
    let Some(url) = line.admin.as_deref().filter(|url| !url.is_empty()) else {
        return Err(Failure::usage(
            "--explain asks the gateway's admin listener, but its address is not known",
            "pass --admin URL or set SLUICE_ADMIN_URL, such as http://127.0.0.1:9090",
        ));
    };
    let event = match event {
        "" => None,
        text => Some(text.parse().map_err(|error| {
            Failure::usage(
                format!("--explain: {error}"),
                "the position of one event, as `sluice publish` prints it",
            )
        })?),
    };
    let admin = gateway_address(url, line.admin_token.clone(), gateway.timeout)?;
    Ok(Some(Explain { admin, event }))
}
