//! One RESP3 connection of a tail: subscriptions come in on it, and heads and streams are read on it.
//! Every answer is bounded by the address's timeout.

use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Msg, PushInfo, PushKind, RedisResult};
use sluice_wire::{Channel, Event, Head, Position, PositionError, StreamId};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::place::Place;
use crate::args::RedisAddress;
use crate::failure::Failure;
use crate::redis_link;

/// Messages received and not yet looked at; one more is dropped, and the stream read instead.
const QUEUE_MESSAGES: usize = 1024;
/// Stream entries per read.
pub const PAGE_EVENTS: usize = 256;

/// A connection that is subscribed to its channels.
pub struct Session {
    address: RedisAddress,
    connection: MultiplexedConnection,
    messages: mpsc::Receiver<PushInfo>,
}

/// A stream entry as Redis gives it: id, then names and values in turn.
type Entry = (String, Vec<Bytes>);

impl Session {
    /// Connects and subscribes; what is read after that leaves nothing between it and the messages.
    pub async fn subscribe(
        address: &RedisAddress,
        channels: impl Iterator<Item = &Channel>,
    ) -> Result<Session, Failure> {
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            if !matches!(push.kind, PushKind::Message | PushKind::Disconnection) {
                return Ok(());
            }
            match queue.try_send(push) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
                Err(mpsc::error::TrySendError::Closed(_)) => Err(redis::aio::SendError),
            }
        });
        let deadline = Instant::now() + address.timeout;
        let connection = redis_link::connect(address, config, deadline).await?;
        let mut session = Session {
            address: address.clone(),
            connection,
            messages,
        };
        let topics: Vec<_> = channels
            .map(|channel| address.keys.topic(channel))
            .collect();
        let subscribing = session.connection.subscribe(topics);
        answer(address, subscribing).await?;
        Ok(session)
    }

    /// The next message, or that the connection is lost.
    pub async fn message(&mut self) -> Result<Msg, Failure> {
        let push = self.messages.recv().await;
        push.and_then(Msg::from_push_info)
            .ok_or_else(|| redis_link::unreachable(&self.address, "the connection was lost".into()))
    }

    /// The heads of `channels`, in their order.
    pub async fn heads(
        &mut self,
        channels: impl Iterator<Item = &Channel>,
    ) -> Result<Vec<Option<Head>>, Failure> {
        let mut gets = redis::pipe();
        for channel in channels {
            gets.cmd("GET").arg(self.address.keys.head(channel));
        }
        let heads: Vec<Option<Bytes>> =
            answer(&self.address, gets.query_async(&mut self.connection)).await?;
        heads.into_iter().map(|head| self.head(head)).collect()
    }

    /// A channel's head and the events after `place`, at most [`PAGE_EVENTS`], as of one moment.
    pub async fn page(
        &mut self,
        channel: &Channel,
        place: Place,
    ) -> Result<(Option<Head>, Vec<Event>), Failure> {
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("GET").arg(self.address.keys.head(channel));
        both.cmd("XRANGE")
            .arg(self.address.keys.stream(channel))
            .arg(format!("({}", place.id()))
            .arg("+")
            .arg("COUNT")
            .arg(PAGE_EVENTS);
        let (head, entries): (Option<Bytes>, Vec<Entry>) =
            answer(&self.address, both.query_async(&mut self.connection)).await?;
        Ok((self.head(head)?, events(channel, entries)?))
    }

    /// The position before the first event of the last `age`, by Redis's clock.
    pub async fn before_age(
        &mut self,
        channel: &Channel,
        age: Duration,
    ) -> Result<Option<Position>, Failure> {
        let time = redis::cmd("TIME");
        let (seconds, micros): (u64, u64) =
            answer(&self.address, time.query_async(&mut self.connection)).await?;
        let now_ms = seconds.saturating_mul(1000) + micros / 1000;
        let from_ms = now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let first = self
            .range("XRANGE", channel, &format!("{from_ms}-0"), "+", 1)
            .await?;
        Ok(first.first().map(|event| event.prev))
    }

    /// The position before the last `count` events, or before all there are.
    pub async fn before_last(
        &mut self,
        channel: &Channel,
        count: u32,
    ) -> Result<Option<Position>, Failure> {
        let (mut left, mut end, mut before) = (count as usize, "+".to_owned(), None);
        while left > 0 {
            let page = self
                .range("XREVRANGE", channel, &end, "-", left.min(PAGE_EVENTS))
                .await?;
            let Some(earliest) = page.last() else { break };
            before = Some(earliest.prev);
            end = format!("({}", earliest.position.id());
            left = left.saturating_sub(page.len());
        }
        Ok(before)
    }

    async fn range(
        &mut self,
        command: &str,
        channel: &Channel,
        from: &str,
        to: &str,
        count: usize,
    ) -> Result<Vec<Event>, Failure> {
        let mut range = redis::cmd(command);
        range.arg(self.address.keys.stream(channel)).arg(from);
        range.arg(to).arg("COUNT").arg(count);
        let entries: Vec<Entry> =
            answer(&self.address, range.query_async(&mut self.connection)).await?;
        events(channel, entries)
    }

    fn head(&self, value: Option<Bytes>) -> Result<Option<Head>, Failure> {
        value
            .map(|value| Head::parse(&value))
            .transpose()
            .map_err(|error| Failure::failed(format!("{}: {error}", self.address)))
    }
}

/// Redis's answer, in time.
async fn answer<T>(
    address: &RedisAddress,
    asked: impl Future<Output = RedisResult<T>>,
) -> Result<T, Failure> {
    match timeout(address.timeout, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(redis_link::failure(address, &error)),
        Err(_) => Err(redis_link::no_answer(address)),
    }
}

fn events(channel: &Channel, entries: Vec<Entry>) -> Result<Vec<Event>, Failure> {
    let event = |(id, fields): Entry| {
        let unreadable = |what: String| {
            Failure::failed(format!(
                "{channel}: stream entry {id} cannot be read: {what}"
            ))
        };
        let stream_id: StreamId = id
            .parse()
            .map_err(|error: PositionError| unreadable(error.to_string()))?;
        let pairs = fields
            .chunks_exact(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()));
        Event::from_stream(stream_id, pairs).map_err(|error| unreadable(error.to_string()))
    };
    entries.into_iter().map(event).collect()
}
