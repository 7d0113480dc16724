//! What `sluice` promises at the shell: the built binary against a real redis-server, and against an HTTP responder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod channels;
mod doctor;
mod explain;
mod gateway;
mod gateway_history;
mod history;
mod install;
mod page;
mod publish;
mod redis_tls;
mod support;
mod tail;
mod terminal;
mod texts;
mod token;
mod token_inspect;
mod token_keys;
mod words;
