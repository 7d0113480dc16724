//! Channels on this node: the sans-I/O protocol core from broker to connection.
//! It decides; `broker` asks Redis for it and `http` moves its bytes. It never
//! waits, never spawns and never reads a clock: every step is told the time.
//!
//! ```text
//! Redis ─pushes─▶ Node (one chain per channel) ─bounded queue─▶ Worker (ring per channel)
//!       ◀─reads──      ▲                                           │ cursors
//!                      └───────────── attach, leave ◀──────────────┴─▶ Connection ─bytes─▶ browser
//! ```

pub mod backfill;
pub mod chain;
pub mod exchange;
pub mod frame;
mod listeners;
pub mod node;
pub mod proof;
pub mod ring;
pub mod sabotage;
mod sync;
