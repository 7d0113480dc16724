//! A channel's chain in memory, by the same rules as `publish.lua`: the embedded broker's history and the simulator's model
//! of Redis. It owns no clock: time and random bits come in with each call.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    event::Event,
    position::{Position, StreamId},
    publish::{Defaults, Publish, Refusal, ttl_ms},
    trace::TraceContext,
};

/// A broker's clock: milliseconds since the Unix epoch. It may go back.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub struct SystemMillis(pub u64);

/// Most idempotency records of one channel; beyond them the oldest are forgotten early.
pub const MAX_RECORDS: usize = 100_000;

/// One channel. A clone is a snapshot; to go back to it is what a rollback is.
#[derive(Clone, Debug, Default)]
pub struct Log {
    head: Option<Timeline>,
    entries: VecDeque<Event>,
    stream_expires: u64,
    head_expires: u64,
    records: HashMap<Arc<str>, Record>,
    /// Event ids in the order in which their records were made.
    record_order: VecDeque<(u64, Arc<str>)>,
}

#[derive(Clone, Copy, Debug)]
struct Timeline {
    position: Position,
    genesis: Position,
}

#[derive(Clone, Debug)]
struct Record {
    genesis: Position,
    position: Position,
    digest: [u8; 20],
    expires: u64,
}

/// The outcome of [`Log::publish`].
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Published {
    /// A new event, to be sent to subscribers.
    Appended(Event),
    /// The event id was known, and this is where its event stands; nothing is to be sent.
    Repeated(Position),
}

impl Published {
    /// Where the event stands, new or repeated: what the publisher is told.
    pub const fn position(&self) -> Position {
        match self {
            Self::Appended(event) => event.position,
            Self::Repeated(position) => *position,
        }
    }
}

impl Log {
    /// Appends an event, or answers a repeated event id with its first event. `nonce` serves as genesis of a new chain, and
    /// as tag when the publisher gave none: it should be random.
    ///
    /// # Errors
    /// The same [`Refusal`]s as the script's; nothing is changed then.
    pub fn publish(
        &mut self,
        now: SystemMillis,
        publish: &Publish<'_>,
        nonce: u32,
        defaults: &Defaults,
    ) -> Result<Published, Refusal> {
        publish.check(defaults.event_bytes)?;
        self.expire(now);
        if let Some(position) = self.repeated(now, publish)? {
            return Ok(Published::Repeated(position));
        }
        let genesis = Position::genesis(nonce);
        let head = self.head.unwrap_or(Timeline {
            position: genesis,
            genesis,
        });
        let used_up = || Refusal::BadHead("the ids of this channel are used up".to_owned());
        let id = head.position.id().next(now.0).ok_or_else(used_up)?;
        if self.head.is_none() {
            self.entries.clear();
        }
        let event = Event {
            position: Position::new(id, publish.tag.unwrap_or(nonce)),
            prev: head.position,
            event_type: publish.named_type().map(Arc::from),
            event_id: publish.event_id.map(Arc::from),
            traceparent: publish.traceparent.and_then(TraceContext::parse),
            data: Bytes::copy_from_slice(publish.data),
        };
        let ttl = ttl_ms(publish.ttl.unwrap_or(defaults.ttl));
        self.entries.push_back(event.clone());
        self.trim(publish.maxlen.unwrap_or(defaults.maxlen).max(1) as usize);
        self.stream_expires = now.0.saturating_add(ttl);
        self.head = Some(Timeline {
            position: event.position,
            genesis: head.genesis,
        });
        self.head_expires = now.0.saturating_add(ttl.max(ttl_ms(defaults.head_ttl)));
        if let Some(event_id) = publish.event_id {
            let expires = now
                .0
                .saturating_add(ttl_ms(publish.idem_ttl.unwrap_or(defaults.idem_ttl)));
            let record = Record {
                genesis: head.genesis,
                position: event.position,
                digest: digest(publish),
                expires,
            };
            self.remember(event_id, record);
        }
        Ok(Published::Appended(event))
    }

    /// The head position; begins a chain at `0-0.<nonce>` where there is none, over a stale stream too.
    pub fn ensure_head(&mut self, now: SystemMillis, nonce: u32, defaults: &Defaults) -> Position {
        self.expire(now);
        let expires = now.0.saturating_add(ttl_ms(defaults.head_ttl));
        let head = self.head.unwrap_or_else(|| {
            self.entries.clear();
            let genesis = Position::genesis(nonce);
            Timeline {
                position: genesis,
                genesis,
            }
        });
        self.head = Some(head);
        self.head_expires = self.head_expires.max(expires);
        head.position
    }

    /// Where the chain stands, if it has begun.
    pub fn head(&self) -> Option<Position> {
        self.head.map(|head| head.position)
    }

    /// The genesis of the current timeline, if it has begun.
    pub fn genesis(&self) -> Option<Position> {
        self.head.map(|head| head.genesis)
    }

    /// All events kept, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.entries.iter()
    }

    /// The first `count` events with an id greater than `id`, oldest first, as `XRANGE (id + COUNT count` answers.
    pub fn after(&self, id: StreamId, count: usize) -> impl Iterator<Item = &Event> {
        let start = self
            .entries
            .partition_point(|event| event.position.id() <= id);
        self.entries.range(start..).take(count)
    }

    /// The oldest event kept.
    pub fn first(&self) -> Option<&Event> {
        self.entries.front()
    }

    /// The event with exactly this id, if it is kept.
    pub fn at(&self, id: StreamId) -> Option<&Event> {
        let found = self
            .entries
            .binary_search_by_key(&id, |event| event.position.id());
        found.ok().and_then(|index| self.entries.get(index))
    }

    /// The last `count` events, oldest first.
    pub fn last_n(&self, count: usize) -> impl Iterator<Item = &Event> {
        self.entries
            .range(self.entries.len().saturating_sub(count)..)
    }

    /// Forgets what has outlived its time: history, head and idempotency records.
    pub fn expire(&mut self, now: SystemMillis) {
        if self.stream_expires <= now.0 {
            self.delete_stream();
        }
        if self.head_expires <= now.0 {
            self.delete_head();
        }
        while self
            .record_order
            .front()
            .is_some_and(|(expires, _)| *expires <= now.0)
        {
            self.forget_oldest_record();
        }
    }

    /// Loses the history but not the head, as `DEL` of the stream does.
    pub fn delete_stream(&mut self) {
        self.entries.clear();
    }

    /// Loses the head but not the history, as `DEL` of the head does.
    pub fn delete_head(&mut self) {
        self.head = None;
    }

    /// Loses everything, as `FLUSHALL` does.
    pub fn flush(&mut self) {
        *self = Self::default();
    }

    /// Keeps the last `count` events.
    pub fn trim(&mut self, count: usize) {
        self.entries
            .drain(..self.entries.len().saturating_sub(count));
    }

    /// The first position of a repeated event id on the current timeline.
    fn repeated(
        &self,
        now: SystemMillis,
        publish: &Publish<'_>,
    ) -> Result<Option<Position>, Refusal> {
        let known = publish.event_id.and_then(|id| self.records.get(id));
        match known
            .filter(|record| record.expires > now.0 && Some(record.genesis) == self.genesis())
        {
            Some(record) if record.digest == digest(publish) => Ok(Some(record.position)),
            Some(_) => Err(Refusal::EventIdReused),
            None => Ok(None),
        }
    }

    fn remember(&mut self, event_id: &str, record: Record) {
        let event_id: Arc<str> = event_id.into();
        self.record_order
            .push_back((record.expires, event_id.clone()));
        self.records.insert(event_id, record);
        if self.record_order.len() > MAX_RECORDS {
            self.forget_oldest_record();
        }
    }

    fn forget_oldest_record(&mut self) {
        let Some((expires, event_id)) = self.record_order.pop_front() else {
            return;
        };
        // The id may have been published again since, on a new timeline: that record stays.
        if self
            .records
            .get(&event_id)
            .is_some_and(|record| record.expires == expires)
        {
            self.records.remove(&event_id);
        }
    }
}

/// Tells whether a repeated event id comes with the same type and data. A type has no LF, so the two cannot be confused.
fn digest(publish: &Publish<'_>) -> [u8; 20] {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(publish.named_type().unwrap_or_default().as_bytes());
    sha1.update(b"\n");
    sha1.update(publish.data);
    sha1.digest().bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;

    const NOW: SystemMillis = SystemMillis(1_000_000);

    fn publish(
        log: &mut Log,
        now: u64,
        data: &str,
        event_id: Option<&str>,
        nonce: u32,
    ) -> Result<Published, Refusal> {
        let channel = Channel::parse("c").expect("valid");
        let publish = Publish {
            event_id,
            ..Publish::new(&channel, data.as_bytes())
        };
        log.publish(SystemMillis(now), &publish, nonce, &Defaults::default())
    }

    fn append(log: &mut Log, now: u64, nonce: u32) -> Event {
        match publish(log, now, "x", None, nonce) {
            Ok(Published::Appended(event)) => event,
            other => panic!("not appended: {other:?}"),
        }
    }

    #[test]
    fn events_link_from_a_genesis_and_ids_never_go_back() {
        let mut log = Log::default();
        let genesis = log.ensure_head(NOW, 9, &Defaults::default());
        assert_eq!(genesis, Position::genesis(9));
        let first = append(&mut log, 5_000_000, 1);
        let second = append(&mut log, 4_000_000, 2);
        assert_eq!((first.prev, second.prev), (genesis, first.position));
        assert_eq!(
            second.position.id(),
            StreamId {
                ms: 5_000_000,
                seq: 1
            }
        );
        assert_eq!(log.head(), Some(second.position));
        assert_eq!(
            log.after(first.position.id(), 9).collect::<Vec<_>>(),
            [&second]
        );
        assert_eq!(log.at(first.position.id()), Some(&first));
        assert_eq!(log.last_n(1).collect::<Vec<_>>(), [&second]);
    }

    #[test]
    fn a_lost_head_deletes_the_stale_stream_and_begins_anew() {
        let mut log = Log::default();
        append(&mut log, NOW.0, 1);
        log.delete_head();
        let event = append(&mut log, NOW.0, 2);
        assert_eq!(event.prev, Position::genesis(2));
        assert_eq!(log.events().len(), 1);
    }

    #[test]
    fn an_event_id_is_remembered_for_its_time_and_its_timeline_only() {
        let mut log = Log::default();
        let Ok(Published::Appended(first)) = publish(&mut log, 1, "x", Some("a"), 1) else {
            panic!("appended")
        };
        assert_eq!(
            publish(&mut log, 2, "x", Some("a"), 2),
            Ok(Published::Repeated(first.position))
        );
        assert_eq!(
            publish(&mut log, 2, "y", Some("a"), 2),
            Err(Refusal::EventIdReused)
        );
        log.delete_head();
        let Ok(Published::Appended(again)) = publish(&mut log, 3, "y", Some("a"), 3) else {
            panic!("a new timeline")
        };
        assert_eq!(
            publish(&mut log, 300_002, "y", Some("a"), 4),
            Ok(Published::Repeated(again.position))
        );
        assert!(matches!(
            publish(&mut log, 300_003, "y", Some("a"), 4),
            Ok(Published::Appended(_))
        ));
    }

    #[test]
    fn history_expires_before_the_head_and_that_is_no_new_timeline() {
        let mut log = Log::default();
        let event = append(&mut log, 1, 1);
        log.expire(SystemMillis(60 * 60 * 1000 + 1));
        assert_eq!((log.first(), log.head()), (None, Some(event.position)));
        log.expire(SystemMillis(30 * 24 * 60 * 60 * 1000 + 1));
        assert_eq!(log.head(), None);
    }

    #[test]
    fn records_are_bounded() {
        let mut log = Log::default();
        for n in 0..=MAX_RECORDS {
            publish(&mut log, 1, "x", Some(&n.to_string()), 1).expect("published");
        }
        assert_eq!(log.records.len(), MAX_RECORDS);
        assert!(
            matches!(
                publish(&mut log, 1, "x", Some("0"), 1),
                Ok(Published::Appended(_))
            ),
            "the oldest is forgotten"
        );
    }
}
