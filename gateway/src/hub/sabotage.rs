//! Named defects of the core that the simulator must catch. In a build without
//! tests every one of them is off, at compile time.

/// A defect that somebody could plausibly write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Trust stream ids: whatever has a greater id than the last event is next.
    CompareWithGreater,
    /// Replay whatever the stream has after a place, without proving the first link.
    SkipChainCheckOnResume,
    /// Never compare heads with Redis.
    NoAudit,
    /// Adopt the head that the audit found without reading what lies between.
    AuditAdoptsHead,
    /// Seat a placed connection at the worker's tip, wherever it stands itself.
    JoinAtNodesPlace,
    /// After one page of replay go live at the tip, without asking for the rest.
    ForgetTheNextPage,
    /// Forget an event that a worker's full queue refused.
    FullHopDropped,
    /// Go on with the old ring after the node has moved the worker's place.
    KeepRingOnStand,
    /// Let a slow connection go on with the oldest entry that the ring still has.
    SkipEvicted,
    /// Begin every timeline with the same genesis.
    SharedGenesis,
    /// Emit a buffered event that the chain read does not hold.
    StragglerBelieved,
    /// Emit an event that does not link because it came after the read was issued.
    LateUnlinkedBelieved,
    /// Emit the last event again when it arrives again.
    DuplicateBelieved,
    /// Adopt the new head after a broken chain without telling anybody.
    SilentReset,
    /// Put the place of one channel into every entry of the cursor.
    OnePlaceForAll,
    /// Take an answer for whichever connection has the slot now.
    AnyTicket,
    /// Write an id that leaves out a channel whose reset is still owed.
    PartialCursor,
    /// Prove a place by the first ring entry that stands there, so that the
    /// ephemeral events after it are sent again.
    ReplayEphemeral,
    /// Believe at first sight that no channel holds a bare position.
    NobodyHolds,
    /// Tell `backfill_limit` to a reader that has already arrived.
    LimitOnArrival,
    /// Give the room in a worker's queue to answers before it knows its place.
    AnswersBeforeStands,
    /// Keep a channel for a question whose connection has gone.
    QuestionKeepsChannel,
    /// Leave the end of an expired stream to the sweep, and send events until it comes round.
    DeliverAfterExpiry,
    /// Say that a stream goes on with its new token, and let it end with the old one.
    KeepOldExpiry,
}

impl Mutant {
    /// Every mutant, for the test that kills them.
    pub const ALL: [Mutant; 24] = [
        Mutant::CompareWithGreater,
        Mutant::SkipChainCheckOnResume,
        Mutant::NoAudit,
        Mutant::AuditAdoptsHead,
        Mutant::JoinAtNodesPlace,
        Mutant::ForgetTheNextPage,
        Mutant::FullHopDropped,
        Mutant::KeepRingOnStand,
        Mutant::SkipEvicted,
        Mutant::SharedGenesis,
        Mutant::StragglerBelieved,
        Mutant::LateUnlinkedBelieved,
        Mutant::DuplicateBelieved,
        Mutant::SilentReset,
        Mutant::OnePlaceForAll,
        Mutant::AnyTicket,
        Mutant::PartialCursor,
        Mutant::ReplayEphemeral,
        Mutant::NobodyHolds,
        Mutant::LimitOnArrival,
        Mutant::AnswersBeforeStands,
        Mutant::QuestionKeepsChannel,
        Mutant::DeliverAfterExpiry,
        Mutant::KeepOldExpiry,
    ];
}

#[cfg(test)]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this thread runs the given defect.
#[cfg(test)]
pub fn sabotaged(mutant: Mutant) -> bool {
    CHOSEN.with(|chosen| chosen.get() == Some(mutant))
}

/// Whether this thread runs the given defect: never, outside the simulator.
#[cfg(not(test))]
pub const fn sabotaged(_mutant: Mutant) -> bool {
    false
}

/// Chooses the defect of this thread.
#[cfg(test)]
pub fn choose(mutant: Option<Mutant>) {
    CHOSEN.with(|chosen| chosen.set(mutant));
}
