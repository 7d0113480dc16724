//! Following channels straight in Redis: subscribe, read the stream, and move only along the chain.
//! What the chain does not prove is told as a reset. It writes nothing: a channel without a head stays without one.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Msg, PushInfo, PushKind, RedisResult};
use sluice_wire::sse::{EventView, envelope_json};
use sluice_wire::{Channel, Cursor, Event, Head, Message, Position, StreamId, event};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::args::{RedisAddress, Start};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::redis_link::{self, RETRY_FIRST, RETRY_MOST};
use crate::tail::{Next, Printer, reset_notice};

/// Messages received and not yet looked at; one more is dropped, and the stream read instead.
const QUEUE_MESSAGES: usize = 1024;
/// Stream entries per read.
const PAGE_EVENTS: usize = 256;
/// How often heads are read: a lost last message leaves no hole to notice, and a dead connection no error.
const AUDIT: Duration = Duration::from_secs(3);
/// The largest data believed in; deployments set their own, lower, limit when publishing.
const EVENT_BYTES: usize = 16 * 1024 * 1024;

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It has no head: whatever comes first must begin its chain.
    Unborn,
    At(Position),
}

impl Place {
    /// Whether the chain leads from here to an event whose `prev` this is.
    fn leads_to(self, prev: Position) -> bool {
        match self {
            Place::Unborn => prev.is_genesis(),
            Place::At(position) => position == prev,
        }
    }

    fn id(self) -> StreamId {
        match self {
            Place::Unborn => StreamId::ZERO,
            Place::At(position) => position.id(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Unborn => f.write_str("the beginning"),
            Place::At(position) => position.fmt(f),
        }
    }
}

/// One channel's place, and what it read ahead of its messages.
struct Followed {
    channel: Channel,
    place: Place,
    /// Positions printed from the stream whose messages may still come: those are no news.
    read_ahead: HashSet<Position>,
}

/// Redis and what is known of the channels; survives connections.
struct Follower {
    address: RedisAddress,
    followed: Vec<Followed>,
    json: bool,
    printer: Printer,
}

/// One connection: commands go out on it, messages come in.
struct Session {
    connection: MultiplexedConnection,
    messages: mpsc::Receiver<PushInfo>,
}

/// Why a session ended.
enum End {
    /// Redis is away: come back.
    Lost(Failure),
    /// Nothing more to do, or to be done.
    Final(Result<(), Failure>),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> End {
        match failure {
            Failure::Unreachable { .. } => End::Lost(failure),
            other => End::Final(Err(other)),
        }
    }
}

/// Prints events until the printer has enough.
///
/// # Errors
/// Redis cannot be reached at first, or refuses.
pub async fn follow(
    address: RedisAddress,
    channels: Vec<Channel>,
    start: Start,
    json: bool,
    printer: Printer,
) -> Result<(), Failure> {
    let followed = channels
        .into_iter()
        .map(|channel| Followed { channel, place: Place::Unborn, read_ahead: HashSet::new() })
        .collect();
    let mut follower = Follower { address, followed, json, printer };
    let mut begin = Some(start);
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
    loop {
        let failure = match follower.session(&mut begin, &mut backoff).await {
            End::Final(outcome) => return outcome,
            // Never reached yet: that is for the user to know at once.
            End::Lost(failure) if begin.is_some() => return Err(failure),
            End::Lost(failure) => failure,
        };
        follower.printer.notice(&format!("note: {failure}; coming back"))?;
        sleep(backoff.next_wait()).await;
    }
}

impl Follower {
    /// Connects, catches up and follows until something ends it. Takes `begin` once every channel has its place.
    async fn session(&mut self, begin: &mut Option<Start>, backoff: &mut Backoff) -> End {
        match self.run(begin, backoff).await {
            Ok(()) => End::Final(Ok(())),
            Err(end) => end,
        }
    }

    async fn run(&mut self, begin: &mut Option<Start>, backoff: &mut Backoff) -> Result<(), End> {
        let mut session = self.subscribe().await?;
        for at in 0..self.followed.len() {
            if let Some(start) = begin.as_ref() {
                self.followed[at].place = self.first_place(&mut session, at, start).await?;
            }
        }
        *begin = None;
        backoff.reset();
        let mut audit = interval(AUDIT);
        audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.printer.flush()? == Next::Stop {
                return Ok(());
            }
            // The first tick is due at once: it catches every channel up after the subscription.
            let next = tokio::select! {
                biased;
                _ = audit.tick() => self.audit(&mut session).await?,
                message = session.messages.recv() => match message {
                    Some(push) => self.push(&mut session, push).await?,
                    None => return Err(redis_link::unreachable(&self.address, "the connection was lost".into()).into()),
                },
            };
            if next == Next::Stop {
                return Ok(());
            }
        }
    }

    /// A connection that is subscribed to every channel: read only after that, and nothing falls between.
    async fn subscribe(&self) -> Result<Session, Failure> {
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| match push.kind {
            // The queue's end is the news of a lost connection.
            PushKind::Message | PushKind::SMessage => match queue.try_send(push) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
                Err(closed @ mpsc::error::TrySendError::Closed(_)) => Err(closed),
            },
            _ => Ok(()),
        });
        let deadline = Instant::now() + self.address.timeout;
        let mut connection = redis_link::connect(&self.address, config, deadline).await?;
        let topics: Vec<_> =
            self.followed.iter().map(|followed| self.address.keys.topic(&followed.channel)).collect();
        self.answer(connection.subscribe(topics)).await?;
        Ok(Session { connection, messages })
    }

    /// Redis's answer, in time.
    async fn answer<T>(&self, asked: impl Future<Output = RedisResult<T>>) -> Result<T, Failure> {
        match timeout(self.address.timeout, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(redis_link::failure(&self.address, &error)),
            Err(_) => Err(redis_link::no_answer(&self.address)),
        }
    }
}
