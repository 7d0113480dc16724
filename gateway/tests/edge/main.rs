//! The gateway's edge as clients meet it: raw HTTP against a whole node on the embedded broker.

#[path = "../harness/mod.rs"]
mod harness;

mod auth;
mod batch;
mod batch_bounds;
mod binary;
mod contract;
mod dev;
mod forged;
mod full;
mod history;
mod http2;
mod jwks;
mod keys;
mod ndjson;
mod poll;
mod poll_ends;
mod publish;
mod refusals;
mod sockets;
mod tokens;
mod traps;
