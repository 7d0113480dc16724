//! Being built.

pub mod config;
pub mod health;
pub mod http;
pub mod metrics;
pub mod reasons;
