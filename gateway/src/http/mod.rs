//! The HTTP surface. Only this module knows actix-web.

pub mod accept;
pub mod admin;
pub mod admission;
pub mod asking;
pub mod batch;
pub mod body;
pub mod cors;
pub mod credentials;
pub mod dev;
pub mod forwarded;
pub mod framing;
pub mod head;
pub mod history;
pub mod page;
pub mod params;
pub mod peer;
pub mod poll;
pub mod probes;
pub mod problem;
pub mod publish;
pub mod refusal;
pub mod renewal;
pub mod routes;
pub mod streams;
pub mod subscribe;
pub mod transport;
