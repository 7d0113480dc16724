//! Sluice's gateway: events from Redis to browsers as Server-Sent Events.
//!
//! ```text
//! http ──▶ connection ──▶ hub ──▶ wire
//!   │                      ▲
//!   └────▶ broker ─────────┘          server composes them all
//! ```
//!
//! `broker` runs the node core on a thread of its own and alone speaks to
//! Redis; `hub` is that core, without I/O; `connection` holds the streams of a
//! worker thread, without I/O too; `http` alone knows actix-web; `auth` says who a
//! caller is, `orders` is what nodes tell each other, and `revocations` what they
//! know of taken-back tokens.

pub mod auth;
pub mod broker;
pub mod canary;
pub mod config;
pub mod connection;
mod der;
pub mod descriptors;
pub mod health;
pub mod healthcheck;
pub mod holder;
pub mod http;
pub mod hub;
pub mod lifecycle;
pub mod metrics;
pub mod orders;
pub mod reasons;
pub mod revocations;
pub mod server;
pub mod trace;
pub mod version;

#[cfg(test)]
mod simulator;
