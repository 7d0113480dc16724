//! Following channels straight in Redis: subscribe, read the stream, and move only along the chain.
//! What the chain does not prove is told as a reset. It writes nothing: a channel without a head stays without one.

mod followed;
mod session;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use redis::Msg;
use sluice_wire::cursor::{write_bare, write_many};
use sluice_wire::sse::{EventView, envelope_json};
use sluice_wire::{Channel, Cursor, Event, Head, Message, Position, event};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::args::{RedisAddress, Start};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::notice::{Notice, Reset};
use crate::place::Place;
use crate::redis_link::{RETRY_FIRST, RETRY_MOST};
use crate::redis_read::{PAGE_EVENTS, Reader};
use crate::tail::{Next, Printer, ndjson_line};
use followed::{Followed, Link};
use session::Session;

/// How often heads are read: a lost last message leaves no hole to notice, and a dead connection no error.
const AUDIT: Duration = Duration::from_secs(3);
/// The largest data believed in; deployments set their own, lower, limit when publishing.
const EVENT_BYTES: usize = 16 * 1024 * 1024;

/// What is kept between connections.
struct Follower {
    address: RedisAddress,
    followed: Vec<Followed>,
    /// Taken once every channel has its place.
    start: Option<Start>,
    backoff: Backoff,
    json: bool,
    printer: Printer,
}

/// Prints events until the printer has enough.
///
/// # Errors
/// Redis cannot be reached at first, or refuses; or the cursor is one channel's and there are several.
pub async fn follow(
    address: RedisAddress,
    channels: Vec<Channel>,
    start: Start,
    json: bool,
    printer: Printer,
) -> Result<(), Failure> {
    let bare = matches!(
        &start,
        Start::From {
            cursor: Cursor::Bare(_),
            ..
        }
    );
    if bare && channels.len() > 1 {
        return Err(Failure::usage(
            "--from gives the place of one channel, but there are several",
            "tail them one by one, or give a cursor that `tail --json` printed for all of them",
        ));
    }
    let mut follower = Follower {
        address,
        followed: channels.into_iter().map(Followed::new).collect(),
        start: Some(start),
        backoff: Backoff::new(RETRY_FIRST, RETRY_MOST),
        json,
        printer,
    };
    loop {
        match follower.session().await {
            Ok(()) => return Ok(()),
            // Redis was there before: it may be again.
            Err(failure) if failure.is_unreachable() && follower.start.is_none() => {
                let back = Notice::Note(format!("{failure}; coming back"));
                follower.printer.notice(&back)?;
            }
            Err(failure) => return Err(failure),
        }
        sleep(follower.backoff.next_wait()).await;
    }
}

impl Follower {
    /// Connects, catches up and follows until the printer has enough.
    async fn session(&mut self) -> Result<(), Failure> {
        let mut session = Session::subscribe(&self.address, channels(&self.followed)).await?;
        if let Some(start) = &self.start {
            // Heads first: what is published from here on is reached from there.
            let heads = session.reader.heads(channels(&self.followed)).await?;
            for (followed, head) in self.followed.iter_mut().zip(heads) {
                followed.place =
                    first_place(&mut session.reader, &followed.channel, head, start).await?;
            }
        }
        self.start = None;
        self.backoff.reset();
        let mut audit = interval(AUDIT);
        audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.printer.flush()? == Next::Stop {
                return Ok(());
            }
            // The first tick is due at once: it brings every channel to its head after the subscription.
            let next = tokio::select! {
                biased;
                _ = audit.tick() => self.audit(&mut session).await?,
                message = session.message() => self.message(&mut session, &message?).await?,
            };
            if next == Next::Stop {
                return Ok(());
            }
        }
    }

    /// Reads all heads, and the stream where one is not where we are.
    async fn audit(&mut self, session: &mut Session) -> Result<Next, Failure> {
        let heads = session.reader.heads(channels(&self.followed)).await?;
        for (at, head) in heads.into_iter().enumerate() {
            let behind = Place::live(head) != self.followed[at].place;
            if behind && self.catch_up(session, at).await? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        Ok(Next::More)
    }

    async fn message(&mut self, session: &mut Session, message: &Msg) -> Result<Next, Failure> {
        let topic = message.get_channel_name().as_bytes();
        let channel = self.address.keys.channel_of_topic(topic);
        let is_its = |followed: &Followed| Some(&followed.channel) == channel.as_ref();
        let Some(at) = self.followed.iter().position(is_its) else {
            return Ok(Next::More);
        };
        let payload = Bytes::copy_from_slice(message.get_payload_bytes());
        match event::decode(payload, EVENT_BYTES) {
            Ok(Message::Ephemeral(data)) => {
                let event = EventView {
                    event_type: None,
                    event_id: None,
                    data: &data,
                    traceparent: None,
                };
                self.print(at, None, &event)
            }
            Ok(Message::Event(event)) => match self.followed[at].take_message(&event) {
                Link::Next => self.print(at, Some(event.position), &view(&event)),
                Link::Known => Ok(Next::More),
                // A hole, or a straggler: the stream tells. After that the message is no news either way.
                Link::Broken => self.catch_up(session, at).await,
            },
            Err(error) => {
                let channel = &self.followed[at].channel;
                let dropped = Notice::Note(format!("{channel}: a message was dropped: {error}"));
                self.printer.notice(&dropped)?;
                self.catch_up(session, at).await
            }
        }
    }

    /// Reads on from the channel's place to its head, or tells that the chain does not lead there.
    async fn catch_up(&mut self, session: &mut Session, at: usize) -> Result<Next, Failure> {
        loop {
            let followed = &mut self.followed[at];
            let (head, events) = session
                .reader
                .page(&followed.channel, followed.place.id())
                .await?;
            let Some(head) = head else {
                if followed.place != Place::Unborn {
                    self.reset(at, Place::Unborn, "state_lost")?;
                }
                return Ok(Next::More);
            };
            if followed.place == Place::Unborn && head.position.is_genesis() {
                followed.place = Place::At(head.position);
            }
            for event in &events {
                let followed = &mut self.followed[at];
                if followed.take_entry(event) != Link::Next {
                    let reason = followed.place.why_broken(&head, Some(event.prev));
                    self.reset(at, Place::At(head.position), reason)?;
                    return Ok(Next::More);
                }
                if self.print(at, Some(event.position), &view(event))? == Next::Stop {
                    return Ok(Next::Stop);
                }
            }
            let followed = &self.followed[at];
            if followed.place == Place::At(head.position) {
                return Ok(Next::More);
            }
            if events.len() < PAGE_EVENTS {
                let reason = followed.place.why_broken(&head, None);
                self.reset(at, Place::At(head.position), reason)?;
                return Ok(Next::More);
            }
        }
    }

    /// Prints an event; an ephemeral one has no position.
    fn print(
        &mut self,
        at: usize,
        position: Option<Position>,
        event: &EventView<'_>,
    ) -> Result<Next, Failure> {
        if !self.json {
            return self.printer.event(event.data);
        }
        let id = position.map_or_else(String::new, |position| position.to_string());
        let envelope = envelope_json(&self.followed[at].channel, &id, event);
        self.printer.event(&ndjson_line(&self.cursor(), &envelope))
    }

    /// The cursor from which `--from` goes on with the same channels.
    fn cursor(&self) -> String {
        let mut places = self
            .followed
            .iter()
            .filter_map(|followed| match followed.place {
                Place::At(position) => Some((followed.channel.short_hash(), position)),
                Place::Unborn => None,
            });
        let mut text = BytesMut::new();
        if self.followed.len() > 1 {
            write_many(places, &mut text);
        } else if let Some((_, position)) = places.next() {
            write_bare(position, &mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn reset(&mut self, at: usize, to: Place, reason: &str) -> Result<(), Failure> {
        let followed = &mut self.followed[at];
        let from = followed.reset(to);
        let notice = Notice::Reset(Reset::new(
            &followed.channel,
            reason,
            from.position(),
            to.position(),
        ));
        self.printer.notice(&notice)
    }
}

fn channels(followed: &[Followed]) -> impl Iterator<Item = &Channel> {
    followed.iter().map(|followed| &followed.channel)
}

/// Where a channel begins, whose head is `head`.
async fn first_place(
    reader: &mut Reader,
    channel: &Channel,
    head: Option<Head>,
    start: &Start,
) -> Result<Place, Failure> {
    let before = match start {
        Start::Default => None,
        Start::From {
            cursor: Cursor::Bare(position),
            ..
        } => Some(*position),
        Start::From {
            cursor: Cursor::Many(places),
            ..
        } => places.get(channel),
        Start::Since(since) => {
            let before = reader.before_time(*since).await?;
            reader.before_first(channel, before).await?
        }
        Start::Last(count) => reader.before_last(channel, *count).await?,
    };
    Ok(before.map_or(Place::live(head), Place::At))
}

fn view(event: &Event) -> EventView<'_> {
    EventView {
        event_type: event.event_type.as_deref(),
        event_id: event.event_id.as_deref(),
        data: &event.data,
        traceparent: event.traceparent,
    }
}
