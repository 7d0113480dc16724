//! The HTTP surface. Only this module knows actix-web.

pub mod auth;
pub mod body;
pub mod cors;
pub mod page;
pub mod params;
pub mod patterns;
pub mod probes;
pub mod problem;
