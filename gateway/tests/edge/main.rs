//! The gateway's edge as clients meet it: raw HTTP against a whole node on the embedded broker.

#[path = "../harness/mod.rs"]
mod harness;

mod auth;
mod batch;
mod batch_bounds;
mod binary;
mod canary;
mod contract;
mod csrf;
mod dev;
mod full;
mod history;
mod http2;
mod ndjson;
mod poll;
mod poll_ends;
mod publish;
mod refusals;
mod session;
mod sockets;
mod tickets;
mod traps;
