//! Reading channels in Redis: heads and streams, at most a page at a time. It writes nothing.
//! Every answer is bounded by the address's timeout.

use bytes::Bytes;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use sluice_wire::look::{self, Entries};
use sluice_wire::{Channel, Event, Head, Position, PositionError, StreamId};
use tokio::time::Instant;

use crate::args::{RedisAddress, Since};
use crate::failure::Failure;
use crate::redis_link::{self, answer};

/// Stream entries per read.
pub const PAGE_EVENTS: usize = 256;

/// A connection to read on.
pub struct Reader {
    address: RedisAddress,
    connection: MultiplexedConnection,
}

/// A stream entry as Redis gives it: id, then names and values in turn.
type Entry = (String, Vec<Bytes>);

impl Reader {
    pub fn new(address: RedisAddress, connection: MultiplexedConnection) -> Reader {
        Reader {
            address,
            connection,
        }
    }

    /// Opens a connection only to read.
    ///
    /// # Errors
    /// As [`redis_link::connect`].
    pub async fn connect(address: RedisAddress) -> Result<Reader, Failure> {
        let deadline = Instant::now() + address.timeout;
        let config = AsyncConnectionConfig::new();
        let connection = redis_link::connect(&address, config, deadline).await?;
        Ok(Reader::new(address, connection))
    }

    /// What to say of a connection that broke.
    pub fn lost(&self) -> Failure {
        redis_link::unreachable(&self.address, "the connection was lost".into())
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

    /// A channel's head and the events after `id`, at most [`PAGE_EVENTS`], as of one moment.
    pub async fn page(
        &mut self,
        channel: &Channel,
        id: StreamId,
    ) -> Result<(Option<Head>, Vec<Event>), Failure> {
        let entries = Entries::after(id, PAGE_EVENTS);
        let mut look = redis::cmd(look::COMMAND);
        look.arg(look::words(&self.address.keys, channel, entries, false));
        let (head, entries): (Option<Bytes>, Vec<Entry>) =
            answer(&self.address, look.query_async(&mut self.connection)).await?;
        Ok((self.head(head)?, events(channel, entries)?))
    }

    /// The stream id after which the events since then are, by Redis's clock.
    pub async fn before_time(&mut self, since: Since) -> Result<StreamId, Failure> {
        let now_ms = match since {
            Since::Ago(_) => redis_link::clock_ms(&self.address, &mut self.connection).await?,
            Since::At(_) => 0,
        };
        let before = since.unix_ms(now_ms).checked_sub(1);
        Ok(before.map_or(StreamId::ZERO, |ms| StreamId {
            ms: ms.min(StreamId::MAX_MS),
            seq: u16::MAX,
        }))
    }

    /// The position before the first event after `id`; `None` when there is no such event.
    pub async fn before_first(
        &mut self,
        channel: &Channel,
        id: StreamId,
    ) -> Result<Option<Position>, Failure> {
        let first = self
            .range("XRANGE", channel, &format!("({id}"), "+", 1)
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
