//! Data commands through a pool, and the function library; what is published and read stands in files of its own. A connection that
//! has failed does not go back into the pool.

use std::sync::Mutex;
use std::time::Instant;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime, Timeouts};
use redis::{AsyncConnectionConfig, FromRedisValue, RedisError, RedisResult};
use sluice_wire::batch;
use sluice_wire::keys::Keys;
use sluice_wire::publish::{self, Defaults};
use tokio::sync::watch;

use super::RedisSettings;
use super::canary::CanaryScripts;
use super::leases::LeaseScripts;
use super::reads::NewHeads;
use super::timed::Timed;
use crate::broker::clock::Clock;
use crate::broker::rare::Rare;
use crate::metrics::LimitMetrics;
use crate::reasons::RedisCommand;

/// The pool and the scripts.
pub(in crate::broker) struct DataLink {
    pool: Pool,
    pub(super) keys: Keys,
    pub(super) events: Defaults,
    pub(super) publish: Script,
    pub(super) publish_all: Script,
    pub(super) ensure_head: Script,
    pub(super) canary: CanaryScripts,
    pub(super) stand: Script,
    pub(super) clock: Clock,
    pub(super) leases: LeaseScripts,
    pub(super) limits: LimitMetrics,
    pub(super) timed: Timed,
    pub(super) new_heads: Mutex<NewHeads>,
    pub(super) refreshed: Mutex<Option<Instant>>,
    pub(super) unreadable: Rare,
    pub(super) failed_publishes: Rare,
    pub(super) failed_tickets: Rare,
    /// Counts how often Redis was given up for lost.
    lost: watch::Sender<u64>,
}

pub(super) struct Script {
    text: String,
    sha: String,
    class: RedisCommand,
}

/// Why a command gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataError {
    #[error("no connection to Redis: {0}")]
    NoConnection(#[from] PoolError),
    #[error("Redis: {0}")]
    Command(#[from] RedisError),
    #[error("Redis was given up for lost before it answered")]
    Lost,
    #[error("Redis answered {0} with something else")]
    Reply(&'static str),
    #[error("more new channels are being read than `limits.new_heads_per_second` allows")]
    TooManyNewHeads,
}

impl DataLink {
    pub(super) fn new(
        settings: &RedisSettings,
        (events, canary): (Defaults, Defaults),
        new_heads_per_second: u32,
        (limits, timed): (LimitMetrics, Timed),
        clock: Clock,
    ) -> Result<DataLink, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        let super::Topology::Standalone(info) = &settings.topology;
        let manager = Manager::new_with_config((**info).clone(), config)?;
        let wait = settings.connect_timeout + settings.response_timeout;
        let pool = Pool::builder(manager)
            .max_size(settings.pool)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(wait),
                create: Some(settings.connect_timeout),
                recycle: Some(settings.connect_timeout),
            })
            .build()
            .map_err(|error| {
                RedisError::from((redis::ErrorKind::Client, "pool", error.to_string()))
            })?;
        Ok(DataLink {
            pool,
            keys: settings.keys.clone(),
            events,
            publish: Script::new(RedisCommand::Publish, publish::script(&events)),
            publish_all: Script::new(RedisCommand::Publish, batch::script(&events)),
            ensure_head: Script::new(RedisCommand::Read, publish::ensure_head_script(&events)),
            canary: CanaryScripts::new(&canary),
            stand: super::standing::script(),
            clock,
            leases: LeaseScripts::new(),
            limits,
            timed,
            new_heads: Mutex::new(NewHeads::new(new_heads_per_second)),
            refreshed: Mutex::new(None),
            unreadable: Rare::default(),
            failed_publishes: Rare::default(),
            failed_tickets: Rare::default(),
            lost: watch::Sender::new(0),
        })
    }

    /// Connections of the pool that are in use.
    pub(in crate::broker) fn connections_in_use(&self) -> usize {
        let status = self.pool.status();
        status.size.saturating_sub(status.available)
    }

    /// Redis does not answer: what waits for it fails now, and no connection of before is used again.
    pub(super) fn give_up(&self) {
        self.pool.retain(|_, _| false);
        self.lost.send_modify(|times| *times += 1);
    }

    /// Loads the function library where it is absent or older. True when it did.
    pub(super) async fn install_library(&self) -> Result<bool, DataError> {
        let mut version = redis::cmd("FCALL_RO");
        version.arg(publish::FUNCTION_VERSION).arg(0);
        let found: Result<i64, DataError> = self
            .run(RedisCommand::Function, async |connection| {
                version.query_async(connection).await
            })
            .await;
        if !publish::needs_install(found.ok()) {
            return Ok(false);
        }
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD")
            .arg("REPLACE")
            .arg(publish::library(&self.events));
        self.run(RedisCommand::Function, async |connection| {
            load.exec_async(connection).await
        })
        .await?;
        Ok(true)
    }

    pub(super) async fn eval<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<T, DataError> {
        let sent = self
            .eval_as(("EVALSHA", &script.sha), script.class, keys, args)
            .await;
        match sent {
            Err(DataError::Command(error)) if error.code() == Some("NOSCRIPT") => {
                self.eval_as(("EVAL", &script.text), script.class, keys, args)
                    .await
            }
            Ok(_) | Err(_) => sent,
        }
    }

    async fn eval_as<T: FromRedisValue>(
        &self,
        (command, script): (&str, &str),
        class: RedisCommand,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<T, DataError> {
        let mut eval = redis::cmd(command);
        eval.arg(script).arg(keys.len()).arg(keys).arg(args);
        self.run(class, async |connection| eval.query_async(connection).await)
            .await
    }

    /// Runs commands on a connection of the pool; one that has failed is dropped.
    pub(super) async fn run<T>(
        &self,
        class: RedisCommand,
        commands: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, DataError> {
        let result = self.run_uncounted(commands);
        let result = self.timed.round_trip(class, result).await;
        match &result {
            Ok(_) => {}
            Err(DataError::Command(error)) => self.timed.failed(class, error),
            Err(_) => self.timed.unanswered(class),
        }
        result
    }

    async fn run_uncounted<T>(
        &self,
        commands: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, DataError> {
        let mut lost = self.lost.subscribe();
        let mut connection = tokio::select! {
            connection = self.pool.get() => connection?,
            _ = lost.changed() => return Err(DataError::Lost),
        };
        let result = tokio::select! {
            result = commands(&mut connection) => result,
            _ = lost.changed() => {
                drop(Connection::take(connection));
                return Err(DataError::Lost);
            }
        };
        if let Err(error) = &result
            && (error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error())
        {
            drop(Connection::take(connection));
        }
        Ok(result?)
    }
}

impl Script {
    pub(super) fn new(class: RedisCommand, text: String) -> Script {
        Script {
            class,
            sha: publish::sha1_hex(&text),
            text,
        }
    }
}
