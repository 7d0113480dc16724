//! The gateway's edge as clients meet it: raw HTTP against a whole node on the embedded broker.

#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod auth;
mod batch;
mod batch_bounds;
mod binary;
mod canary;
mod clients;
mod contract;
mod csrf;
mod dev;
mod ends;
mod expiry;
mod explain;
mod forged;
mod full;
mod healthcheck;
mod history;
mod http2;
mod http2_limits;
mod jwks;
mod keys;
mod limits;
mod limits_of_requests;
mod logs;
mod matrix;
mod metrics;
mod ndjson;
mod own_canary;
mod poll;
mod poll_ends;
mod publish;
mod raw_http2;
mod refusals;
mod renewal;
mod request_ids;
mod session;
mod slow;
mod sockets;
mod tickets;
mod tls;
mod tokens;
mod traces;
mod traps;
