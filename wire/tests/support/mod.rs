//! What the tests share: a redis-server of their own, and an event-stream parser written apart from the encoder.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "test code")]

pub mod event_stream;
pub mod redis_server;
pub mod script;
