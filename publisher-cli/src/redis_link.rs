//! The connection to Redis: opened within a deadline, and its errors put into a shell user's words.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use sluice_wire::Refusal;
use sluice_wire::publish::FUNCTION_VERSION;
use tokio::time::{Instant, timeout, timeout_at};

use crate::args::RedisAddress;
use crate::failure::{Failure, no_answer_within};

/// Opens a connection before `deadline`. The caller puts its own bound on each reply.
///
/// # Errors
/// [`Failure::Unreachable`], or that Redis does not let us in.
pub async fn connect(
    address: &RedisAddress,
    config: AsyncConnectionConfig,
    deadline: Instant,
) -> Result<MultiplexedConnection, Failure> {
    let client = Client::open(address.info.clone()).map_err(|error| failure(address, &error))?;
    let config = config
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let opened = timeout_at(
        deadline,
        client.get_multiplexed_async_connection_with_config(&config),
    );
    match opened.await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(failure(address, &error)),
        Err(_) => Err(no_answer(address)),
    }
}

/// Redis's answer, in time.
///
/// # Errors
/// That it says no, or nothing within the address's timeout.
pub async fn answer<T>(
    address: &RedisAddress,
    asked: impl Future<Output = RedisResult<T>>,
) -> Result<T, Failure> {
    match timeout(address.timeout, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failure(address, &error)),
        Err(_) => Err(no_answer(address)),
    }
}

/// The clock of Redis, in Unix milliseconds.
///
/// # Errors
/// As [`answer`].
pub async fn clock_ms(
    address: &RedisAddress,
    connection: &mut MultiplexedConnection,
) -> Result<u64, Failure> {
    let time = redis::cmd("TIME");
    let (seconds, micros): (u64, u64) = answer(address, time.query_async(connection)).await?;
    Ok(seconds.saturating_mul(1000) + micros / 1000)
}

/// The version of the installed function library; `None` where there is none.
///
/// # Errors
/// Any other answer, from servers without functions and users who may not call them too.
pub async fn function_version(connection: &mut MultiplexedConnection) -> RedisResult<Option<i64>> {
    let asked = redis::cmd("FCALL_RO")
        .arg(FUNCTION_VERSION)
        .arg(0)
        .query_async(connection)
        .await;
    match asked {
        Ok(version) => Ok(Some(version)),
        Err(error) if lacks_function(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Redis said nothing for too long.
pub fn no_answer(address: &RedisAddress) -> Failure {
    unreachable(address, no_answer_within(address.timeout))
}

pub fn unreachable(address: &RedisAddress, cause: String) -> Failure {
    Failure::Unreachable {
        target: address.to_string(),
        cause,
        hint: "is Redis running there, and is --redis (SLUICE_REDIS_URL) right?".into(),
    }
}

/// Something answers, in another protocol: no repetition will help.
fn not_redis(address: &RedisAddress) -> Failure {
    Failure::Failed {
        what: format!("what answers at {address} is not Redis"),
        hint: Some(
            "is that the gateway's address? then use --gateway http://host:port instead of --redis"
                .into(),
        ),
    }
}

/// The failure that a Redis error amounts to.
pub fn failure(address: &RedisAddress, error: &RedisError) -> Failure {
    let text = text(error);
    if let Some(refusal) = Refusal::from_redis_error(&text) {
        return Failure::Refused {
            code: refusal.code().to_owned(),
            status: None,
            detail: refusal.to_string(),
            hint: None,
            for_all: false,
        };
    }
    if error.kind() == ErrorKind::Parse {
        return not_redis(address);
    }
    if text.contains("certificate") || text.contains("alert") {
        return Failure::Failed {
            what: format!("no TLS with {address}: {text}"),
            hint: Some(
                "trust its authority with --redis-ca, write the host as its certificate does, and show your own with --redis-cert and --redis-key where it asks for one"
                    .into(),
            ),
        };
    }
    if may_pass(error) || error.is_io_error() {
        return unreachable(address, text);
    }
    Failure::Failed {
        what: format!("{address}: {text}"),
        hint: hint(error, &text).map(str::to_owned),
    }
}

/// Whether Redis did nothing with the command and may take it a moment later.
pub fn may_pass(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
        )
    )
}

/// Whether Redis does not know the function that was called.
pub fn lacks_function(error: &RedisError) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.contains("Function not found"))
}

/// The error as Redis wrote it, code first; a client-side error in its own words.
pub fn text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, Some(detail)) => format!("{}: {detail}", error.category()),
        (None, None) => error.to_string(),
    }
}

fn hint(error: &RedisError, text: &str) -> Option<&'static str> {
    if error.kind() == ErrorKind::AuthenticationFailed
        || text.starts_with("NOAUTH")
        || text.starts_with("WRONGPASS")
    {
        return Some("put user and password into the URL: redis://user:password@host:port");
    }
    if text.starts_with("READONLY") {
        return Some("this is a replica; give the primary's address");
    }
    if text.starts_with("MOVED") || text.starts_with("CROSSSLOT") {
        return Some(
            "this is a cluster; sluice speaks to one server, so publish through a gateway (--gateway)",
        );
    }
    if text.starts_with("NOPERM") {
        return Some(
            "allow the user the command and the keys that begin with the prefix (see `ACL LOG` in Redis)",
        );
    }
    if text.starts_with("OOM") {
        return Some("Redis is at its maxmemory; raise it, or keep less history");
    }
    None
}

/// A moment between attempts of one operation.
pub const RETRY_FIRST: Duration = Duration::from_millis(50);
pub const RETRY_MOST: Duration = Duration::from_secs(1);
