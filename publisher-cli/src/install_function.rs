//! `sluice install-function`: puts the publish function into Redis, or prints its text.

use redis::AsyncConnectionConfig;
use serde::Serialize;
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
            json,
        } => {
            let library = publish::library(&defaults);
            let deadline = Instant::now() + address.timeout;
            let installing = install(&address, &library, settings_given, replace, deadline);
            let done = timeout_at(deadline, installing)
                .await
                .map_err(|_| redis_link::no_answer(&address))??;
            output.line(done.told(&address, json).as_bytes())?;
        }
    }
    output.flush()
}

/// What was done about the function.
#[derive(Serialize)]
struct Done {
    action: Action,
    /// The version that is there now.
    version: i64,
    /// The version that was there before.
    found: Option<i64>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Installed,
    Replaced,
    Kept,
}

impl Done {
    fn told(&self, address: &RedisAddress, json: bool) -> String {
        if json {
            return serde_json::to_string(self).unwrap_or_default();
        }
        let (version, found) = (self.version, self.found.unwrap_or_default());
        match self.action {
            Action::Installed => {
                format!("installed version {version} of the function in {address}")
            }
            Action::Replaced => format!(
                "replaced version {found} of the function by version {version} in {address}"
            ),
            Action::Kept => {
                let newer = if version > i64::from(LIBRARY_VERSION) {
                    format!(", newer than this sluice's {LIBRARY_VERSION}")
                } else {
                    String::new()
                };
                format!(
                    "version {version} of the function is in {address} already{newer}: left alone"
                )
            }
        }
    }
}

async fn install(
    address: &RedisAddress,
    library: &str,
    settings_given: bool,
    replace: bool,
    deadline: Instant,
) -> Result<Done, Failure> {
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
    Ok(Done {
        action: match found {
            Some(_) => Action::Replaced,
            None => Action::Installed,
        },
        version: i64::from(LIBRARY_VERSION),
        found,
    })
}

fn left_alone(address: &RedisAddress, found: i64, settings_given: bool) -> Result<Done, Failure> {
    if settings_given {
        return Err(Failure::Failed {
            what: format!(
                "version {found} of the function is in {address} already, with the settings it was installed with"
            ),
            hint: Some("add --replace to load it with the settings given".into()),
        });
    }
    Ok(Done {
        action: Action::Kept,
        version: found,
        found: Some(found),
    })
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
