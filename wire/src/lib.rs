//! The contract between Sluice's processes: names, positions, cursors, frames, keys and the one atomic append.
//! It does no I/O, owns no clock and draws no random numbers: callers hand both in.
//!
//! ```text
//! publisher ─ Publish ─▶ publish.lua (Redis) or Log (memory) ─▶ stream entry + frame
//! gateway   ─ event::decode / Event::from_stream ─▶ Event ─ sse or ndjson ─▶ reader ─ Cursor ─▶ gateway
//! ```

pub mod batch;
pub mod channel;
pub mod cursor;
pub mod event;
pub mod keys;
pub mod line;
pub mod log;
pub mod look;
pub mod ndjson;
pub mod pattern;
pub mod position;
pub mod publish;
pub mod sse;
pub mod trace;

pub use channel::{Channel, ChannelError};
pub use cursor::{Cursor, CursorError, Places};
pub use event::{Event, FrameError, Message};
pub use keys::{Head, HeadError, Keys, KeysError};
pub use log::{Log, Published, SystemMillis};
pub use position::{Position, PositionError, StreamId};
pub use publish::{Defaults, Publish, Refusal};
pub use trace::TraceContext;
