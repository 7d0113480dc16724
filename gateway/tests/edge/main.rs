//! The gateway's edge as clients meet it: raw HTTP against a whole node on the embedded broker.

#[path = "../harness/mod.rs"]
mod harness;

mod auth;
mod batch;
mod batch_bounds;
mod binary;
mod clients;
mod contract;
mod dev;
mod ends;
mod full;
mod history;
mod http2;
mod http2_limits;
mod matrix;
mod ndjson;
mod poll;
mod poll_ends;
mod publish;
mod refusals;
mod slow;
mod sockets;
mod tls;
mod traps;
