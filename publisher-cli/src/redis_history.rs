//! A channel's history straight from Redis: head and stream as of one moment, page by page along the chain.
//! It writes nothing, so that a channel without a head stays without one.

use sluice_wire::sse::EventView;
use sluice_wire::{Channel, Cursor, Event, Head, Position, StreamId};

use crate::args::{RedisAddress, Start};
use crate::failure::Failure;
use crate::history::Printer;
use crate::place::Place;
use crate::redis_read::{PAGE_EVENTS, Reader};
use crate::tail::Next;

/// Where the reading stands.
struct At {
    /// The stream id after which to read on.
    after: StreamId,
    /// The position to which the next event must link; `None` where any event will do, being the first.
    place: Option<Position>,
}

impl At {
    const OLDEST: At = At {
        after: StreamId::ZERO,
        place: None,
    };

    fn after(position: Position) -> At {
        At {
            after: position.id(),
            place: Some(position),
        }
    }
}

/// Prints what is kept from `start` on, up to the head as it was at the first look.
///
/// # Errors
/// Redis cannot be reached, or refuses; or an entry cannot be read.
pub async fn read(
    address: RedisAddress,
    start: &Start,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let channel = printer.channel.clone();
    let mut reader = Reader::connect(address).await?;
    let mut at = first(&mut reader, &channel, start).await?;
    let mut end: Option<Head> = None;
    loop {
        let (head, mut events) = reader.page(&channel, at.after).await?;
        let Some(head) = head else {
            // Never published to; or gone, and then a stream without a head is nobody's.
            if at.place.is_some() {
                printer.reset("state_lost", at.place, None)?;
            }
            return Ok(());
        };
        if end.is_none()
            && let Some((from, reason)) = unproved(&at, &head, &events)
        {
            // The cursor proves nothing: all that is kept comes, from the oldest on.
            at = At::OLDEST;
            (_, events) = reader.page(&channel, at.after).await?;
            let to = events.first().map_or(head.position, |event| event.prev);
            printer.reset(reason, Some(from), Some(to))?;
        }
        let end = *end.get_or_insert(head);
        let is_last_page = events.len() < PAGE_EVENTS;
        for event in events {
            if event.position.id() > end.position.id() {
                return finish(printer, &at, end, &head);
            }
            if let Some(place) = at.place.filter(|place| *place != event.prev) {
                let reason = Place::At(place).why_broken(&head, Some(event.prev));
                printer.reset(reason, Some(place), Some(event.prev))?;
            }
            at = At::after(event.position);
            let view = EventView {
                event_type: event.event_type.as_deref(),
                event_id: event.event_id.as_deref(),
                data: &event.data,
                traceparent: event.traceparent,
            };
            if printer.event(event.position, &view)? == Next::Stop {
                if event.position != end.position {
                    printer.more(event.position)?;
                }
                return Ok(());
            }
        }
        if is_last_page {
            return finish(printer, &at, end, &head);
        }
    }
}

/// The place asked for, and why the chain does not lead on from it, when it does not.
fn unproved(at: &At, head: &Head, events: &[Event]) -> Option<(Position, &'static str)> {
    let next = events.first().map(|event| event.prev);
    let from = at.place?;
    let is_proved = next.unwrap_or(head.position) == from;
    (!is_proved).then(|| (from, Place::At(from).why_broken(head, next)))
}

/// Tells it when the events do not lead to where the channel stood at the first look.
fn finish(printer: &mut Printer, at: &At, end: Head, now: &Head) -> Result<(), Failure> {
    match at.place.filter(|place| *place != end.position) {
        Some(place) => {
            let reason = Place::At(place).why_broken(now, None);
            printer.reset(reason, Some(place), Some(end.position))
        }
        None => Ok(()),
    }
}

async fn first(reader: &mut Reader, channel: &Channel, start: &Start) -> Result<At, Failure> {
    Ok(match start {
        Start::Default => At::OLDEST,
        Start::From { cursor, .. } => {
            let place = match cursor {
                Cursor::Bare(position) => Some(*position),
                Cursor::Many(places) => places.get(channel),
            };
            place.map_or(At::OLDEST, At::after)
        }
        Start::Since(since) => At {
            after: reader.before_time(*since).await?,
            place: None,
        },
        Start::Last(count) => {
            let before = reader.before_last(channel, *count).await?;
            before.map_or(At::OLDEST, At::after)
        }
    })
}
