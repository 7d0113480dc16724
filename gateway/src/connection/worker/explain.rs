//! Why a stream did or did not get an event, as far as its worker can know: by the chain where its ring holds the event,
//! else by stream ids, which say "before" or "after" and nothing of timelines.

use std::time::Duration;

use sluice_wire::position::Position;

use super::Worker;
use super::memory::EndedStream;
use crate::connection::Transport;
use crate::connection::blocks::{Status, rfc3339};
use crate::connection::seat::{Seat, State};
use crate::connection::stream::Stream;
use crate::orders::explain::{Question, Verdict, Why};

/// An event on one channel, and how to tell when something was.
struct Case<'a> {
    channel: &'a str,
    event: Position,
    now: Duration,
    /// Unix time in milliseconds, by Redis's clock.
    wall: u64,
}

impl Case<'_> {
    fn unix_ms(&self, at: Duration) -> u64 {
        let ago = self.now.saturating_sub(at).as_millis();
        self.wall
            .saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
    }

    /// What it means that the reader's place is at the event or past it.
    fn passed(&self, began: Option<Position>, status: Status, how: &str) -> (Verdict, String) {
        match began.filter(|began| is_past(*began, self.event)) {
            None => (Verdict::Delivered, format!("delivered: {how}")),
            Some(began) if status == Status::Live => (
                Verdict::OpenedAfter,
                format!("not sent: the stream began live after it, at {began}"),
            ),
            Some(began) => (
                Verdict::BeforeStart,
                format!(
                    "not sent: it is not after the place that the stream began with, {began}, which its reader brought or \
                     asked for"
                ),
            ),
        }
    }
}

impl<T: Transport> Worker<T> {
    /// The answer, if the stream is here or is remembered; `wall` is Unix time in milliseconds.
    pub fn explain(&self, question: &Question, now: Duration, wall: u64) -> Option<Why> {
        let case = Case {
            channel: &question.channel,
            event: question.id.parse().ok()?,
            now,
            wall,
        };
        let mut streams = self.streams.iter();
        let open = streams.find(|(_, stream)| stream.id == question.connection);
        match open {
            Some((_, stream)) => Some(self.of_stream(stream, &case)),
            None => {
                let ended = self.memory.ended_stream(question.connection)?;
                Some(self.of_ended(ended, &case))
            }
        }
    }

    fn of_stream(&self, stream: &Stream<T>, case: &Case<'_>) -> Why {
        let seat = stream.seats.iter().find(|seat| {
            let local = self.channels.get(seat.channel);
            local.is_some_and(|local| local.name.as_str() == case.channel)
        });
        let (verdict, mut detail) = match seat {
            None => not_subscribed(),
            Some(seat) => self.of_seat(stream, seat, case),
        };
        if let Some(reason) = stream.close {
            detail += &format!("; the stream is about to end ({reason})");
        }
        Why {
            node: self.limits.node.clone(),
            verdict,
            detail,
            place: seat
                .and_then(|seat| seat.place)
                .map(|place| place.to_string()),
            opened_at: case.unix_ms(stream.opened_at),
            ended_at: None,
            close_reason: None,
        }
    }

    fn of_ended(&self, ended: &EndedStream, case: &Case<'_>) -> Why {
        let at = rfc3339(case.unix_ms(ended.ended_at));
        let seat = ended.seats.iter();
        let seat = seat
            .clone()
            .find(|seat| seat.channel.as_str() == case.channel);
        let (verdict, detail) = match seat {
            None => not_subscribed(),
            Some(seat) => {
                let past = seat.place.filter(|place| is_past(*place, case.event));
                match (
                    self.memory.reset_over(ended.id, case.channel, case.event),
                    past,
                ) {
                    (Some(reset), _) => reset_told(reset.reason.as_label()),
                    (None, Some(place)) => {
                        case.passed(seat.began, seat.status, &by_id(place, case.event))
                    }
                    (None, None) => (
                        Verdict::Ended,
                        "not sent: the stream ended before it; the reader's cursor goes on there"
                            .to_owned(),
                    ),
                }
            }
        };
        Why {
            node: self.limits.node.clone(),
            verdict,
            detail: format!("{detail}; the stream ended at {at} ({})", ended.reason),
            place: seat
                .and_then(|seat| seat.place)
                .map(|place| place.to_string()),
            opened_at: case.unix_ms(ended.opened_at),
            ended_at: Some(case.unix_ms(ended.ended_at)),
            close_reason: Some(ended.reason.to_string()),
        }
    }

    fn of_seat(&self, stream: &Stream<T>, seat: &Seat, case: &Case<'_>) -> (Verdict, String) {
        if let Some(reset) = self.memory.reset_over(stream.id, case.channel, case.event) {
            return reset_told(reset.reason.as_label());
        }
        let ring = self.channels.get(seat.channel);
        let ring = ring.and_then(|local| local.ring.as_ref());
        let held = ring.and_then(|ring| ring.serial_of(case.event));
        if let (State::Live { next }, Some(serial)) = (&seat.state, held) {
            return if serial < *next {
                let how = "the stream's place is past the event on the channel's chain";
                case.passed(seat.began(), seat.status, how)
            } else {
                waiting(stream, case)
            };
        }
        if let Some(place) = seat.place.filter(|place| is_past(*place, case.event)) {
            return case.passed(seat.began(), seat.status, &by_id(place, case.event));
        }
        match &seat.state {
            State::Asking { .. } | State::Probed(_) | State::Unsettled => (
                Verdict::WaitingForPlace,
                "not yet: the stream asks where it stands in the channel and waits for the answer".to_owned(),
            ),
            State::Resetting(reset) => reset_told(reset.reason.as_label()),
            State::Replaying { .. } => (
                Verdict::Replaying,
                format!("not yet: the stream sends history, up to its turn{}", due(stream, case)),
            ),
            State::Live { .. } => (
                Verdict::NotSeen,
                "not sent: it has not reached this node, or is not on the channel's chain; where a stream id is \
                 of another timeline, nobody here can tell"
                    .to_owned(),
            ),
        }
    }
}

/// Whether a place is at the event or past it, by stream ids. An equal id with another tag is another event.
fn is_past(place: Position, event: Position) -> bool {
    place == event || place.id() > event.id()
}

fn by_id(place: Position, event: Position) -> String {
    if place == event {
        format!("the stream's place is the event, {event}")
    } else {
        format!("the stream's place {place} is past the event by its stream id")
    }
}

fn not_subscribed() -> (Verdict, String) {
    let detail = "not sent: the stream does not read this channel";
    (Verdict::NotSubscribed, detail.to_owned())
}

fn reset_told(reason: &str) -> (Verdict, String) {
    let detail =
        format!("skipped by a `sluice.reset` ({reason}), at or before the place it led to");
    (Verdict::Reset, detail)
}

fn waiting<T: Transport>(stream: &Stream<T>, case: &Case<'_>) -> (Verdict, String) {
    let detail = format!("not yet: it is in memory here{}", due(stream, case));
    (Verdict::Waiting, detail)
}

/// Since when the client has left bytes unread, if it has.
fn due<T: Transport>(stream: &Stream<T>, case: &Case<'_>) -> String {
    match stream.due_since {
        None => String::new(),
        Some(since) => format!(
            "; the client has not taken what is due for {:.1} s",
            case.now.saturating_sub(since).as_secs_f64()
        ),
    }
}
