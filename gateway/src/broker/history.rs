//! Pages of a channel's history: looks at the stream, joined by the chain. Creates nothing, so that reading a channel
//! that was never published to leaves no trace.

use sluice_wire::channel::Channel;
use sluice_wire::event::Event;
use sluice_wire::position::{Position, StreamId};
use tokio::sync::oneshot;

use super::{Broker, Command};
use crate::hub::exchange::{Context, Reading};
use crate::hub::proof::{self, Proof, prove};
use crate::reasons::ResetReason;

/// Most entries of one look; fewer where events may be large.
const LOOK_EVENTS: usize = 128;
/// Bytes of data that one look brings at most, or a single event.
const LOOK_BYTES: usize = 8 << 20;

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// With the oldest event kept.
    Oldest,
    /// Right after this position, proved.
    After(Position),
    /// After a place that nobody can read: told as a reset, then with the oldest event kept.
    Unreadable,
    /// With the first kept event at or after this Unix time in milliseconds.
    Since(u64),
    /// With the last so many kept events; 0 is the head.
    Last(u32),
}

/// What a page has told, besides its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The place after the page; none where the channel has no chain.
    pub cursor: Option<Position>,
    pub head: Option<Position>,
    /// Whether events follow the page.
    pub more: bool,
    pub reset: Option<PageReset>,
}

/// The place that was asked for is not proved: the page begins after `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageReset {
    pub from: Option<Position>,
    pub to: Option<Position>,
    pub reason: ResetReason,
}

/// Why a channel's history could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    #[error("the event broker is unavailable")]
    Unavailable,
    #[error("the channel's keys cannot be read; the gateway's log says why")]
    Unreadable,
}

/// One atomic look at a channel.
#[derive(Clone, Debug)]
pub(super) struct Glance {
    pub channel: Channel,
    pub span: Span,
    /// The most entries to bring.
    pub count: usize,
    /// Bring what tells one reason for a reset from another.
    pub confirm: bool,
}

/// Which entries a [`Glance`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// The oldest of those with this id or a greater one.
    From(StreamId),
    /// The oldest of those with a greater id.
    After(StreamId),
    /// The newest ones.
    Newest,
    /// The newest of those with a smaller id.
    Before(StreamId),
}

/// Head, entries in stream order and context of one moment; no head if the channel has none.
#[derive(Debug)]
pub(super) struct Look {
    pub head: Option<Position>,
    pub entries: Vec<Event>,
    pub context: Option<Context>,
}

pub(super) type LookReply = oneshot::Sender<Result<Look, LookError>>;

/// What the first look has settled.
struct Opening {
    look: Look,
    /// The place whose continuation was proved; otherwise the page begins where the look does.
    after: Option<Position>,
    reset: Option<(Option<Position>, ResetReason)>,
}

impl Broker {
    /// Reads a page of at most `limit` events, oldest first. `take` gets them one by one and says whether it had room;
    /// it is not called again after it had none.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn page(
        &self,
        channel: &Channel,
        start: PageStart,
        limit: usize,
        mut take: impl FnMut(&Event) -> bool,
    ) -> Result<Page, LookError> {
        let opening = self.first_look(channel, start, limit).await?;
        let (mut look, reset) = (opening.look, opening.reset);
        let mut page = Page {
            cursor: None,
            head: look.head,
            more: false,
            reset: reset.map(|(from, reason)| PageReset {
                from,
                to: None,
                reason,
            }),
        };
        let Some(head) = look.head else {
            return Ok(page);
        };
        let begins = look.entries.first().map_or(head, |first| first.prev);
        let mut place = opening.after.unwrap_or(begins);
        if let Some(reset) = &mut page.reset {
            reset.to = Some(place);
        }
        let mut left = limit;
        'page: while let Some(mut reading) = look.reading() {
            page.head = Some(reading.head);
            // Broken here: trimmed since the look before. The next page will tell.
            let Proof::Follows(events) = prove(place, &mut reading) else {
                break;
            };
            for event in events.iter().take(left) {
                if !take(event) {
                    break 'page;
                }
                place = event.position;
                left -= 1;
            }
            if left == 0 || page.head == Some(place) {
                break;
            }
            look = self
                .glance(channel, Span::After(place.id()), left, false)
                .await?;
        }
        page.cursor = Some(place);
        page.more = page.head != Some(place);
        Ok(page)
    }

    /// The wall clock of the broker, in Unix milliseconds, asked anew.
    ///
    /// # Errors
    /// [`LookError::Unavailable`].
    pub async fn time(&self) -> Result<u64, LookError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(Command::Time(reply))
            .map_err(|_| LookError::Unavailable)?;
        answer.await.unwrap_or(Err(LookError::Unavailable))
    }

    async fn first_look(
        &self,
        channel: &Channel,
        start: PageStart,
        limit: usize,
    ) -> Result<Opening, LookError> {
        let oldest = Span::From(StreamId::ZERO);
        let (span, reset) = match start {
            PageStart::Oldest => (oldest, None),
            PageStart::Unreadable => (oldest, Some((None, ResetReason::BadCursor))),
            PageStart::Since(ms) => (Span::From(StreamId { ms, seq: 0 }), None),
            PageStart::Last(0) => {
                let mut look = self.glance(channel, Span::Newest, 1, false).await?;
                look.entries.clear();
                return Ok(Opening::at(look));
            }
            PageStart::Last(count) => (self.last(channel, count).await?, None),
            PageStart::After(place) => match self.follow(channel, place, limit).await? {
                Ok(look) => {
                    return Ok(Opening {
                        look,
                        after: Some(place),
                        reset: None,
                    });
                }
                // An event was taken out of the middle: from the oldest on, its gap would be met again and again.
                Err(_) if self.keeps(channel, place).await? => {
                    let reset = (Some(place), ResetReason::Trimmed);
                    (Span::After(place.id()), Some(reset))
                }
                Err(reason) => (oldest, Some((Some(place), reason))),
            },
        };
        let look = self.glance(channel, span, limit, false).await?;
        Ok(Opening {
            reset,
            ..Opening::at(look)
        })
    }

    /// A look that continues `place`, or why none does. Broken at first sight is looked at once more.
    async fn follow(
        &self,
        channel: &Channel,
        place: Position,
        limit: usize,
    ) -> Result<Result<Look, ResetReason>, LookError> {
        let span = Span::After(place.id());
        let look = self.glance(channel, span, limit, false).await?;
        if look.continues(place) {
            return Ok(Ok(look));
        }
        let look = self.glance(channel, span, limit, true).await?;
        if look.continues(place) {
            return Ok(Ok(look));
        }
        let reason = look.reading().map(|reading| proof::reason(place, &reading));
        Ok(Err(reason.unwrap_or(ResetReason::StateLost)))
    }

    /// Whether the event at this place is still there.
    async fn keeps(&self, channel: &Channel, place: Position) -> Result<bool, LookError> {
        let look = self.glance(channel, Span::From(place.id()), 1, false);
        let look = look.await?;
        Ok(look.head.is_some() && look.entries.first().is_some_and(|e| e.position == place))
    }

    /// Where the last `count` entries begin, found from the end.
    async fn last(&self, channel: &Channel, count: u32) -> Result<Span, LookError> {
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        let mut span = Span::Newest;
        let mut begin = StreamId {
            ms: StreamId::MAX_MS,
            seq: u16::MAX,
        };
        while left > 0 {
            let asked = left.min(self.look_events);
            let look = self.glance(channel, span, asked, false).await?;
            let Some(first) = look.entries.first() else {
                break;
            };
            begin = first.position.id();
            span = Span::Before(begin);
            if look.entries.len() < asked {
                break;
            }
            left -= asked;
        }
        Ok(Span::From(begin))
    }

    async fn glance(
        &self,
        channel: &Channel,
        span: Span,
        count: usize,
        confirm: bool,
    ) -> Result<Look, LookError> {
        let (reply, answer) = oneshot::channel();
        let glance = Glance {
            channel: channel.clone(),
            span,
            count: count.clamp(1, self.look_events),
            confirm,
        };
        self.commands
            .try_send(Command::Look(glance, reply))
            .map_err(|_| LookError::Unavailable)?;
        answer.await.unwrap_or(Err(LookError::Unavailable))
    }
}

/// How many events one look may bring, when each has at most so many bytes.
pub(super) fn look_events(event_bytes: usize) -> usize {
    (LOOK_BYTES / event_bytes.max(1)).clamp(1, LOOK_EVENTS)
}

impl Opening {
    fn at(look: Look) -> Opening {
        Opening {
            look,
            after: None,
            reset: None,
        }
    }
}

impl Look {
    /// The same as the core reads it; nothing without a head.
    fn reading(&self) -> Option<Reading> {
        Some(Reading {
            head: self.head?,
            head_is_new: false,
            entries: self.entries.clone(),
            context: self.context,
        })
    }

    fn continues(&self, place: Position) -> bool {
        let proof = self.reading().map(|mut reading| prove(place, &mut reading));
        match proof {
            Some(Proof::Current | Proof::Follows(_)) => true,
            Some(Proof::Broken) | None => false,
        }
    }
}
