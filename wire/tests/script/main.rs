//! Each rule of `publish.lua` on a real Redis, in each of its forms.
#![allow(clippy::unwrap_used, reason = "test code")]

mod batch;
mod chain;
mod idempotency;
mod permissions;
mod redis_side;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
