//! `sluice install-function`, resolved.

use sluice_wire::Defaults;

use super::line::{InstallFunctionLine, SettingsLine};
use super::link::{RedisAddress, needed_redis};
use crate::failure::Failure;

/// `sluice install-function`, resolved.
#[derive(Debug)]
pub enum InstallFunction {
    PrintLibrary(Defaults),
    PrintScript(Defaults),
    Install {
        address: Box<RedisAddress>,
        defaults: Defaults,
        /// Whether the command line asked for settings other than the built-in ones.
        settings_given: bool,
        replace: bool,
        json: bool,
    },
}

pub fn install_function(line: &InstallFunctionLine) -> Result<InstallFunction, Failure> {
    let (defaults, settings_given) = defaults(&line.settings)?;
    if line.eval {
        return Ok(InstallFunction::PrintScript(defaults));
    }
    if line.print {
        return Ok(InstallFunction::PrintLibrary(defaults));
    }
    let address = needed_redis(
        &line.redis,
        "no Redis to install the function in",
        "pass --redis URL or set SLUICE_REDIS_URL",
    )?;
    Ok(InstallFunction::Install {
        address: Box::new(address),
        defaults,
        settings_given,
        replace: line.replace,
        json: line.json,
    })
}

/// The settings asked for over the built-in ones, and whether any was asked for.
fn defaults(line: &SettingsLine) -> Result<(Defaults, bool), Failure> {
    let built_in = Defaults::default();
    let event_bytes = match line.event_bytes {
        Some(size) => usize::try_from(size.as_u64()).map_err(|_| {
            Failure::usage(
                format!("--event-bytes {size} is too large"),
                "give a size such as 64KiB",
            )
        })?,
        None => built_in.event_bytes,
    };
    let given = line.sharded
        || line.maxlen.is_some()
        || line.event_bytes.is_some()
        || [line.ttl, line.head_ttl, line.idem_ttl]
            .iter()
            .any(Option::is_some);
    let defaults = Defaults {
        maxlen: line.maxlen.unwrap_or(built_in.maxlen),
        ttl: line.ttl.unwrap_or(built_in.ttl),
        head_ttl: line.head_ttl.unwrap_or(built_in.head_ttl),
        idem_ttl: line.idem_ttl.unwrap_or(built_in.idem_ttl),
        event_bytes,
        sharded: line.sharded,
    };
    Ok((defaults, given))
}
