//! `sluice install-function`: puts the publish function into Redis, or prints its text.

use redis::AsyncConnectionConfig;
use sluice_wire::publish::{self, LIBRARY_VERSION};
use tokio::time::{Instant, timeout_at};

use crate::args::{InstallFunction, RedisAddress};
use crate::failure::Failure;
use crate::output::Output;
use crate::redis_link;

/// Prints a text, or loads the library where it is absent or older and says what was done.
///
/// # Errors
/// Redis is away or refuses; or this version is there and the command line asked for settings that it may not have.
pub async fn run(job: InstallFunction) -> Result<(), Failure> {
    let mut output = Output::new();
    match job {
        InstallFunction::PrintLibrary(defaults) => {
            output.line(publish::library(&defaults).trim_end().as_bytes())?
        }
        InstallFunction::PrintScript(defaults) => {
            output.line(publish::script(&defaults).trim_end().as_bytes())?
        }
        InstallFunction::Install {
            address,
            defaults,
            settings_given,
            replace,
        } => {
            let library = publish::library(&defaults);
            let deadline = Instant::now() + address.timeout;
            let installing = install(&address, &library, settings_given, replace, deadline);
            let done = timeout_at(deadline, installing)
                .await
                .map_err(|_| redis_link::no_answer(&address))??;
            output.line(done.as_bytes())?;
        }
    }
    output.flush()
}

async fn install(
    address: &RedisAddress,
    library: &str,
    settings_given: bool,
    replace: bool,
    deadline: Instant,
) -> Result<String, Failure> {
    let mut connection =
        redis_link::connect(address, AsyncConnectionConfig::new(), deadline).await?;
    let found = redis_link::function_version(&mut connection)
        .await
        .map_err(|error| refused(address, &error))?;
    if !replace && !publish::needs_install(found) {
        return left_alone(address, found.unwrap_or_default(), settings_given);
    }
    let () = redis::cmd("FUNCTION")
        .arg("LOAD")
        .arg("REPLACE")
        .arg(library)
        .query_async(&mut connection)
        .await
        .map_err(|error| refused(address, &error))?;
    Ok(match found {
        Some(old) => format!(
            "replaced version {old} of the function by version {LIBRARY_VERSION} in {address}"
        ),
        None => format!("installed version {LIBRARY_VERSION} of the function in {address}"),
    })
}

fn left_alone(address: &RedisAddress, found: i64, settings_given: bool) -> Result<String, Failure> {
    if settings_given {
        return Err(Failure::Failed {
            what: format!(
                "version {found} of the function is in {address} already, with the settings it was installed with"
            ),
            hint: Some("add --replace to load it with the settings given".into()),
        });
    }
    let newer = if found > i64::from(LIBRARY_VERSION) {
        format!(", newer than this sluice's {LIBRARY_VERSION}")
    } else {
        String::new()
    };
    Ok(format!(
        "version {found} of the function is in {address} already{newer}: left alone"
    ))
}

fn refused(address: &RedisAddress, error: &redis::RedisError) -> Failure {
    let failure = redis_link::failure(address, error);
    if redis_link::text(error).contains("unknown command") {
        return Failure::Failed {
            what: failure.to_string(),
            hint: Some("functions need Redis 7; for older servers ship the text of `install-function --eval`".into()),
        };
    }
    failure
}
