//! The checks of a Redis server, one after another on one connection. They write nothing but on a throw-away channel,
//! which is deleted again.

mod function;
mod rights;
mod server;
mod settings;

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, PushInfo, RedisResult};
use tokio::time::{Instant, timeout};

use super::Looked;
use super::finding::{Code, Finding};
use super::report::Section;
use crate::args::RedisAddress;
use crate::failure::{Failure, no_answer_within};
use crate::redis_link;

/// Why a question had no answer.
pub enum Trouble {
    /// This user, or this service, may not ask it.
    Forbidden(String),
    /// Anything else Redis said.
    Refused(String),
    /// The connection is gone.
    Lost(String),
}

impl Trouble {
    pub fn text(&self) -> &str {
        match self {
            Trouble::Forbidden(text) | Trouble::Refused(text) | Trouble::Lost(text) => text,
        }
    }

    /// The finding of a check that could not ask what it had to.
    pub fn skips(&self, code: Code, question: &str) -> Finding {
        let how = match self {
            Trouble::Forbidden(_) => "is not permitted here",
            Trouble::Refused(_) | Trouble::Lost(_) => "was not answered",
        };
        Finding::skipped(code, format!("{question} {how}: {}", self.text()))
    }
}

/// A server that lets us in.
pub struct Server {
    pub address: RedisAddress,
    pub connection: MultiplexedConnection,
    /// Once nothing answers, nothing more is waited for.
    lost: Option<String>,
}

/// `INFO`, or why there is none.
pub type Facts = Result<HashMap<String, String>, Trouble>;

impl Server {
    /// # Errors
    /// As [`redis_link::connect`].
    pub async fn connect(address: &RedisAddress) -> Result<Server, Failure> {
        // Confirmations of SUBSCRIBE are pushes, and must have somewhere to go.
        let config = AsyncConnectionConfig::new()
            .set_push_sender(|_: PushInfo| Ok::<_, redis::aio::SendError>(()));
        let deadline = Instant::now() + address.timeout;
        Ok(Server {
            address: address.clone(),
            connection: redis_link::connect(address, config, deadline).await?,
            lost: None,
        })
    }

    pub async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, Trouble> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let mut connection = self.connection.clone();
        self.answer(command.query_async(&mut connection)).await
    }

    pub async fn answer<T>(
        &mut self,
        asked: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, Trouble> {
        if let Some(why) = &self.lost {
            return Err(Trouble::Lost(why.clone()));
        }
        let error = match timeout(self.address.timeout, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => {
                let why = no_answer_within(self.address.timeout);
                self.lost = Some(why.clone());
                return Err(Trouble::Lost(why));
            }
        };
        let text = redis_link::text(&error);
        if error.is_io_error() {
            self.lost = Some(text.clone());
            return Err(Trouble::Lost(text));
        }
        let forbidden = [
            "NOPERM",
            "unknown command",
            "unknown subcommand",
            "not allowed",
            "disabled",
        ];
        Err(if forbidden.iter().any(|words| text.contains(words)) {
            Trouble::Forbidden(text)
        } else {
            Trouble::Refused(text)
        })
    }

    /// One setting of `CONFIG GET`.
    pub async fn setting(&mut self, name: &str) -> Result<String, Trouble> {
        let mut found: HashMap<String, String> = self.ask(&["CONFIG", "GET", name]).await?;
        found
            .remove(name)
            .ok_or_else(|| Trouble::Refused(format!("CONFIG GET knows no {name}")))
    }

    async fn facts(&mut self) -> Facts {
        let text: String = self.ask(&["INFO"]).await?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Ok(lines
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect())
    }
}

/// A value of `INFO`; empty where the server says nothing of it.
pub fn fact<'a>(facts: &'a HashMap<String, String>, name: &str) -> &'a str {
    facts.get(name).map_or("", String::as_str)
}

/// A number of `INFO`.
pub fn number(facts: &HashMap<String, String>, name: &str) -> Option<u64> {
    fact(facts, name).parse().ok()
}

/// Looks at everything there is to see of the server at `address`.
pub async fn look(address: &RedisAddress) -> Looked {
    let mut findings = Vec::new();
    let mut unreachable = None;
    match Server::connect(address).await {
        Ok(mut server) => {
            findings.push(Finding::ok(
                Code::RedisReachable,
                "it answers and lets us in",
            ));
            look_at(&mut server, &mut findings).await;
        }
        Err(failure) => {
            let hint = failure.hint().unwrap_or("look at the server's log");
            findings.push(Finding::problem(
                Code::RedisReachable,
                failure.to_string(),
                hint,
            ));
            let all = Code::ALL
                .iter()
                .filter(|code| code.label().starts_with("redis_"))
                .skip(1);
            findings.extend(all.map(|code| Finding::skipped(*code, "there is no connection")));
            unreachable = failure.is_unreachable().then_some(failure);
        }
    }
    Looked {
        section: Section {
            title: address.to_string(),
            findings,
        },
        unreachable,
    }
}

async fn look_at(server: &mut Server, findings: &mut Vec<Finding>) {
    let facts = server.facts().await;
    findings.extend([
        server::version(&facts),
        server::mode(&facts),
        server::role(&facts),
        settings::eviction(&facts),
        settings::pubsub_buffer(server).await,
        function::check(server, &facts).await,
    ]);
    findings.extend(rights::check(server, &facts).await);
    findings.extend([
        settings::persistence(server, &facts).await,
        settings::replicas(server, &facts).await,
        settings::memory(&facts),
        server::clock(server).await,
        server::latency(server).await,
    ]);
}
