//! The harness of Sluice's scenarios: real redis-servers, real gateway processes, a fault proxy and an SSE
//! client written apart from the product. It shares with the product only the publish script and its keys.
//!
//! Build the gateway before the tests: they run `sluice-gateway` from the target folder they stand in, or what
//! `SLUICE_GATEWAY_BIN` names.

pub mod certificate;
pub mod checker;
pub mod client;
pub mod cursor;
pub mod held;
pub mod http;
pub mod installed;
pub mod journal;
pub mod lab;
pub mod load;
pub mod metrics;
pub mod nginx;
pub mod node;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod redis;
pub mod resp;
pub mod rollout;
pub mod shapes;
pub mod sse;
pub mod stage;
pub mod trickling;
pub mod wait;
