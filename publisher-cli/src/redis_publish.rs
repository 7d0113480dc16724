//! Publishing straight into Redis: a batch is one pipeline of calls of the publish script.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, RedisResult,
    ServerErrorKind,
};
use sluice_wire::publish::{self, Publish};
use sluice_wire::{Channel, Defaults};
use tokio::time::{Instant, sleep, timeout_at};

use crate::args::RedisAddress;
use crate::backoff::Backoff;
use crate::failure::{Failure, no_answer_within};
use crate::publish::{Outcome, Outgoing, Published};
use crate::redis_link::{self, RETRY_FIRST, RETRY_MOST};

/// How the script is called. The installed function is preferred, because it was rendered with the deployment's own
/// settings, whether it is PUBLISH or SPUBLISH included; without it the text goes along, with the built-in settings.
enum Call {
    Function,
    Script { text: String, sha: String },
}

/// Publishes over one connection, opened when first needed and again when lost.
pub struct RedisPublisher {
    address: RedisAddress,
    open: Option<Open>,
}

/// A connection, and how the script is called on it.
struct Open {
    connection: MultiplexedConnection,
    call: Call,
    /// Set when Redis hangs up, so that the next event is not sent into the void and its outcome lost.
    hung_up: Arc<AtomicBool>,
}

/// An event that has no outcome yet, by its place in the batch.
type Pending = Vec<usize>;

impl RedisPublisher {
    pub fn new(address: RedisAddress) -> RedisPublisher {
        RedisPublisher {
            address,
            open: None,
        }
    }

    /// What became of each event, in order, within the address's timeout.
    ///
    /// An event is sent again when Redis surely did nothing with it, or when its reply was lost and it has an id.
    pub async fn publish(&mut self, batch: &[Outgoing]) -> Vec<Outcome> {
        let deadline = Instant::now() + self.address.timeout;
        let mut outcomes: Vec<Option<Outcome>> = batch.iter().map(|_| None).collect();
        let mut pending: Pending = (0..batch.len()).collect();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        while !pending.is_empty() {
            let cause = self
                .attempt(batch, &pending, deadline, &mut outcomes)
                .await
                .err();
            pending.retain(|at| outcomes[*at].is_none());
            let wait = backoff.next_wait();
            let out_of_time = Instant::now() + wait >= deadline;
            match cause {
                Some(failure) if out_of_time || !failure.is_unreachable() => {
                    for at in pending.drain(..) {
                        outcomes[at] = Some(Err(failure.clone()));
                    }
                }
                Some(_) => sleep(wait).await,
                None => {}
            }
        }
        outcomes.into_iter().flatten().collect()
    }

    /// Sends what is pending once and fills in the outcomes that are known then.
    async fn attempt(
        &mut self,
        batch: &[Outgoing],
        pending: &Pending,
        deadline: Instant,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Failure> {
        self.open
            .take_if(|open| open.hung_up.load(Ordering::Relaxed));
        let Open {
            connection, call, ..
        } = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(open(&self.address, deadline).await?),
        };
        let pipeline = pipeline(call, &self.address, pending.iter().map(|at| &batch[*at]));
        let (cause, silent) = match timeout_at(
            deadline,
            pipeline.query_async::<Vec<RedisResult<String>>>(connection),
        )
        .await
        {
            Ok(Ok(replies)) => return self.settle(batch, pending, replies, outcomes),
            Ok(Err(error)) => (redis_link::text(&error), false),
            Err(_) => (no_answer_within(self.address.timeout), true),
        };
        self.open = None;
        for at in pending.iter().filter(|at| batch[**at].event_id.is_none()) {
            outcomes[*at] = Some(Err(Failure::OutcomeUnknown {
                target: self.address.to_string(),
                cause: cause.clone(),
                silent,
            }));
        }
        Err(redis_link::unreachable(&self.address, cause))
    }

    /// Takes over the replies. Events that Redis did nothing with stay pending, unless a later one of their channel got
    /// in: sent again, they would come after it.
    fn settle(
        &mut self,
        batch: &[Outgoing],
        pending: &Pending,
        replies: Vec<RedisResult<String>>,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Failure> {
        let mut overtaken: HashSet<&Channel> = HashSet::new();
        let mut delayed = None;
        let mut forget = false;
        for (at, reply) in pending.iter().zip(replies).rev() {
            let channel = &batch[*at].channel;
            let outcome = match reply {
                Ok(text) => published(&text),
                Err(error) => {
                    let unknown = redis_link::lacks_function(&error) || is_no_script(&error);
                    if (unknown || redis_link::may_pass(&error)) && !overtaken.contains(channel) {
                        forget |= unknown;
                        delayed = Some(redis_link::unreachable(
                            &self.address,
                            redis_link::text(&error),
                        ));
                        continue;
                    }
                    Err(redis_link::failure(&self.address, &error))
                }
            };
            if outcome.is_ok() {
                overtaken.insert(channel);
            }
            outcomes[*at] = Some(outcome);
        }
        if forget {
            // The function or the script went away: look again what there is.
            self.open = None;
        }
        delayed.map_or(Ok(()), Err)
    }
}

/// Opens a connection and finds out how the script is called there.
async fn open(address: &RedisAddress, deadline: Instant) -> Result<Open, Failure> {
    let hung_up = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&hung_up);
    let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
        told.fetch_or(push.kind == PushKind::Disconnection, Ordering::Relaxed);
        Ok::<(), redis::aio::SendError>(())
    });
    let mut connection = redis_link::connect(address, config, deadline).await?;
    let call = match timeout_at(deadline, redis_link::function_version(&mut connection)).await {
        Ok(Ok(Some(_))) => Call::Function,
        // Absent; or a server without functions, or a user who may not call them.
        Ok(Ok(None)) => Call::script(),
        Ok(Err(error)) if error.is_io_error() || redis_link::may_pass(&error) => {
            return Err(redis_link::failure(address, &error));
        }
        Ok(Err(_)) => Call::script(),
        Err(_) => return Err(redis_link::no_answer(address)),
    };
    Ok(Open {
        connection,
        call,
        hung_up,
    })
}

impl Call {
    fn script() -> Call {
        let text = publish::script(&Defaults::default());
        Call::Script {
            sha: publish::sha1_hex(&text),
            text,
        }
    }
}

/// One call per event. With the script's text, the first call brings it and the others name it: no call before, and
/// nothing to fall back from when Redis has forgotten it.
fn pipeline<'a>(
    call: &Call,
    address: &RedisAddress,
    events: impl Iterator<Item = &'a Outgoing>,
) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for (at, event) in events.enumerate() {
        let mut command = match call {
            Call::Function => Cmd::new()
                .arg("FCALL")
                .arg(publish::FUNCTION_PUBLISH)
                .to_owned(),
            Call::Script { text, .. } if at == 0 => Cmd::new().arg("EVAL").arg(text).to_owned(),
            Call::Script { sha, .. } => Cmd::new().arg("EVALSHA").arg(sha).to_owned(),
        };
        let traceparent = event.traceparent.map(|context| context.to_string());
        let publish = Publish {
            traceparent: traceparent.as_deref(),
            event_type: event.event_type.as_deref(),
            event_id: event.event_id.as_deref(),
            tag: Some(rand::random()),
            ..Publish::new(&event.channel, &event.data)
        };
        let keys = publish.keys(&address.keys);
        command.arg(keys.len()).arg(keys).arg(publish.args());
        pipeline.add_command(command);
    }
    pipeline
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

fn published(reply: &str) -> Outcome {
    match publish::parse_reply(reply.as_bytes()) {
        Ok(position) => Ok(Published {
            position,
            repeated: false,
        }),
        Err(error) => Err(Failure::failed(format!(
            "Redis answered with no position: {error}"
        ))),
    }
}
