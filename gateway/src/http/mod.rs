//! The HTTP surface. Only this module knows actix-web.

pub mod accept;
pub mod batch;
pub mod body;
pub mod cors;
pub mod credentials;
mod csrf;
pub mod dev;
pub mod framing;
mod hide;
pub mod history;
pub mod page;
pub mod params;
pub mod peer;
pub mod poll;
pub mod probes;
pub mod problem;
pub mod publish;
pub mod refusal;
pub mod routes;
pub mod session;
pub mod streams;
pub mod subscribe;
pub mod tickets;
