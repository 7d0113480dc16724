//! Why things happen: the closed sets of reasons that appear on the wire, in logs and as metric labels.
//! A label's text is a promise to dashboards and clients; it is never a channel, a user or an id.

use std::fmt;

use sluice_wire::event::FrameError;

/// A closed set of label values for one metric label.
pub trait Label: Copy + fmt::Display + 'static {
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// The label's text.
    fn as_label(self) -> &'static str;

    /// The place of this value in [`Label::ALL`].
    fn index(self) -> usize;
}

/// Defines an enum of reasons with its label texts.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every reason.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The text on the wire, in logs and in metrics.
            pub const fn as_label(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl Label for $name {
            const ALL: &'static [$name] = $name::ALL;

            fn as_label(self) -> &'static str {
                $name::as_label(self)
            }

            fn index(self) -> usize {
                self as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_label())
            }
        }
    };
}

mod canary;
mod node;
mod transport;

pub use canary::CanaryOutcome;
pub use node::{NodeLimit, RedisCommand, ThreadClass};
pub use transport::{ReloadOutcome, TransportEnd};

labels! {
    /// Why a stream ended. Every stream ends through exactly one.
    CloseReason {
        /// The client closed its side.
        ClientGone = "client_gone",
        /// The client keeps its connection busy without reading the stream.
        TransportError = "transport_error",
        /// The client read too slowly for its bound of bytes or age.
        SlowConsumer = "slow_consumer",
        /// The node is leaving.
        Drain = "drain",
        /// A poll has its answer: events, a first place, or that its time is over.
        PollDone = "poll_done",
        /// The stream reached its maximum age.
        MaxAge = "max_age",
        /// The node is too busy to take or keep the stream.
        Overload = "overload",
        /// A limit of connections is reached.
        Limit = "limit",
        /// What it takes to recognise the caller cannot be reached just now.
        Unavailable = "unavailable",
        /// The token that opened the stream expired.
        TokenExpired = "token_expired",
        /// The token, subject or session was revoked.
        Revoked = "revoked",
        /// An operator ended it; the client may come back.
        Disconnected = "disconnected",
    }
}

impl CloseReason {
    /// Whether the client is told with `sluice.close`; a client that has gone hears nothing, and
    /// a poll's answer says it all.
    pub const fn is_told(self) -> bool {
        match self {
            CloseReason::ClientGone | CloseReason::TransportError | CloseReason::PollDone => false,
            CloseReason::SlowConsumer
            | CloseReason::Drain
            | CloseReason::MaxAge
            | CloseReason::Overload
            | CloseReason::Limit
            | CloseReason::Unavailable
            | CloseReason::TokenExpired
            | CloseReason::Revoked
            | CloseReason::Disconnected => true,
        }
    }
}

labels! {
    /// Why history cannot prove continuity: the reason in `sluice.reset`.
    ResetReason {
        /// The events in between are no longer kept.
        Trimmed = "trimmed",
        /// The channel's head went back.
        Rollback = "rollback",
        /// Another primary with another past took over.
        Failover = "failover",
        /// The channel's state is gone.
        StateLost = "state_lost",
        /// More events are missing than are replayed to one stream.
        BackfillLimit = "backfill_limit",
        /// The cursor is malformed or belongs to none of the channels.
        BadCursor = "bad_cursor",
    }
}

labels! {
    /// Why a channel was read from the broker.
    SyncCause {
        /// Its first local subscriber came.
        Subscribe = "subscribe",
        /// An event did not link to the one before.
        Gap = "gap",
        /// The audit found another head.
        Audit = "audit",
        /// The subscriber connection was lost and came back.
        Reconnect = "reconnect",
        /// A cursor was ahead of this node.
        Attach = "attach",
        /// A queue was full and frames were left out.
        Overflow = "overflow",
        /// A message could not be understood, or the connection behaved oddly.
        Suspect = "suspect",
    }
}

labels! {
    /// How an event reached this node.
    Arrival {
        /// Live, with a place in the chain.
        Pubsub = "pubsub",
        /// Read from the stream.
        Sync = "sync",
        /// Live, without a place: a plain PUBLISH.
        Ephemeral = "ephemeral",
    }
}

labels! {
    /// Why a message was not delivered as it came.
    DropReason {
        /// It begins like a frame and is none.
        Malformed = "malformed",
        /// A frame of a version this node does not know.
        Version = "version",
        /// Its data is not UTF-8.
        NotUtf8 = "not_utf8",
        /// Its data is over the limit.
        TooLarge = "too_large",
        /// Nobody on this node reads the channel.
        UnknownChannel = "unknown_channel",
        /// A queue or buffer was full; what it held is synced instead.
        Overflow = "overflow",
    }
}

impl From<&FrameError> for DropReason {
    fn from(error: &FrameError) -> DropReason {
        match error {
            FrameError::Malformed(_) => DropReason::Malformed,
            FrameError::Version => DropReason::Version,
            FrameError::NotUtf8 => DropReason::NotUtf8,
            FrameError::TooLarge { .. } => DropReason::TooLarge,
        }
    }
}

labels! {
    /// Why a request for a stream was turned away.
    RejectReason {
        /// A limit of connections or tries is reached, other than the node's own.
        Limit = "limit",
        /// The node is too busy.
        Overload = "overload",
        /// The node is leaving.
        Drain = "drain",
        /// No token, or a bad one.
        Unauthorized = "unauthorized",
        /// The token does not allow the channel.
        Forbidden = "forbidden",
        /// The caller's token cannot be verified now.
        KeysUnavailable = "keys_unavailable",
        /// The page's origin is not allowed.
        Origin = "origin",
        /// The request could not be understood.
        BadRequest = "bad_request",
        /// The broker is away, and without it the caller cannot be recognised.
        Unavailable = "unavailable",
    }
}

labels! {
    /// How a request to go on from an earlier place ended.
    ReplayOutcome {
        /// Nothing was missed.
        Current = "current",
        /// From the worker's memory.
        Ring = "ring",
        /// From the broker's history.
        Stream = "stream",
        /// Continuity could not be proved and was told.
        Reset = "reset",
    }
}

labels! {
    /// How a publish over HTTP ended.
    PublishOutcome {
        /// Appended, or known by its event id: it has a position.
        Accepted = "accepted",
        /// The event breaks a rule.
        Refused = "refused",
        /// The caller may not publish there.
        Forbidden = "forbidden",
        /// The publisher is over its rate.
        Limited = "limited",
        /// The broker did not answer.
        Unavailable = "unavailable",
    }
}

labels! {
    /// A limit that has turned somebody away or cut something off. Limits of queues and rings, which only make work,
    /// have metrics of their own: docs/limits.md has them all.
    LimitName {
        /// Streams and polls of the node.
        Connections = "connections",
        /// Streams and polls of one client address.
        ConnectionsPerIp = "connections_per_ip",
        /// Streams and polls of one subject on all nodes.
        ConnectionsPerSubject = "connections_per_subject",
        /// Tries of one client address to begin something.
        AttemptsPerIp = "attempts_per_ip",
        /// Addresses and publishers whose rate is remembered.
        IpEntries = "ip_entries",
        /// Streams of one HTTP/2 connection.
        StreamsPerConnection = "streams_per_connection",
        /// Channels of one stream or poll.
        ChannelsPerConnection = "channels_per_connection",
        /// Channels that readers begin.
        NewHeads = "new_heads",
        /// Channels of the embedded broker.
        EmbeddedChannels = "embedded_channels",
        /// Events of one publisher.
        PublishesPerSubject = "publishes_per_subject",
        /// Data of an event that is published over HTTP.
        EventBytes = "event_bytes",
        /// A request's head.
        HeadBytes = "head_bytes",
        /// A request's body.
        BodyBytes = "body_bytes",
        /// How long a body may take.
        BodyTime = "body_time",
        /// The body of a batch.
        BatchBytes = "batch_bytes",
        /// Events of a batch.
        BatchEvents = "batch_events",
        /// Batches under way.
        BatchesAtOnce = "batches_at_once",
        /// A page of history, or the answer to a poll: it went on with the next.
        PageBytes = "page_bytes",
    }
}

labels! {
    /// Why a caller was not recognised or not allowed: stable codes.
    AuthCode {
        /// No credentials.
        TokenMissing = "token_missing",
        /// The Authorization header is not `Bearer <token>`, or there are several.
        BadAuthorization = "bad_authorization",
        /// The token is malformed, forged, for someone else, or lacks a claim.
        InvalidToken = "invalid_token",
        /// The token was good once.
        TokenExpired = "token_expired",
        /// No token can be verified now: the issuer's keys cannot be had.
        KeysUnavailable = "keys_unavailable",
        /// The token does not allow it.
        InsufficientScope = "insufficient_scope",
        /// The token was good, and was taken back.
        TokenRevoked = "token_revoked",
        /// The ticket is unknown, used or expired.
        BadTicket = "bad_ticket",
        /// A ticket could not be looked up, or the node cannot tell yet which tokens are revoked.
        BrokerUnavailable = "broker_unavailable",
        /// A request with the session cookie does not say which page sends it.
        OriginRequired = "origin_required",
        /// The page that sends the session cookie is not allowed.
        OriginNotAllowed = "origin_not_allowed",
    }
}

labels! {
    /// A command on the admin listener.
    AdminCommand {
        Revoke = "revoke",
        Disconnect = "disconnect",
        Connections = "connections",
        Explain = "explain",
    }
}

labels! {
    /// How a command on the admin listener ended.
    AdminOutcome {
        /// It was obeyed here, and all nodes are told.
        Done = "done",
        /// It could not be understood, or there is no room for it.
        Refused = "refused",
        /// The caller has not shown the admin token.
        Unauthorized = "unauthorized",
        /// Redis did not take it.
        Unavailable = "unavailable",
    }
}

labels! {
    /// How a look for the issuer's keys ended.
    JwksOutcome {
        /// There were keys.
        Loaded = "loaded",
        /// No connection, or it broke.
        Unreachable = "unreachable",
        /// No whole answer in time.
        Timeout = "timeout",
        /// A status other than 200.
        BadStatus = "bad_status",
        /// More bytes than allowed.
        TooLarge = "too_large",
        /// Not a JWK Set.
        Malformed = "malformed",
        /// A JWK Set without a key to verify with.
        NoKeys = "no_keys",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn check<L: Label>() {
        let texts: HashSet<&str> = L::ALL.iter().map(|label| label.as_label()).collect();
        assert_eq!(texts.len(), L::ALL.len(), "labels are unique");
        for (index, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), index);
            assert_eq!(label.to_string(), label.as_label());
            assert!(
                label
                    .as_label()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || b"_8".contains(&byte))
            );
        }
    }

    #[test]
    fn labels_are_unique_stable_and_indexed() {
        check::<CloseReason>();
        check::<ResetReason>();
        check::<SyncCause>();
        check::<Arrival>();
        check::<DropReason>();
        check::<RejectReason>();
        check::<ReplayOutcome>();
        check::<PublishOutcome>();
        check::<AuthCode>();
        check::<TransportEnd>();
        check::<ReloadOutcome>();
        check::<CanaryOutcome>();
        check::<AdminCommand>();
        check::<AdminOutcome>();
        check::<LimitName>();
        check::<JwksOutcome>();
        check::<RedisCommand>();
        check::<NodeLimit>();
        check::<ThreadClass>();
    }

    #[test]
    fn frame_errors_keep_their_label() {
        let errors = [
            FrameError::Malformed("x"),
            FrameError::Version,
            FrameError::NotUtf8,
            FrameError::TooLarge { bytes: 2, limit: 1 },
        ];
        for error in &errors {
            assert_eq!(DropReason::from(error).as_label(), error.as_label());
        }
    }
}
