//! The gateway against real Redis servers, and its embedded broker beside them.

#[path = "../harness/mod.rs"]
mod harness;

mod acl;
mod canary;
mod connection;
mod delivery;
mod foreign;
mod leases;
mod library;
mod metrics;
mod orders;
mod renewal;
mod reports;
mod revoke;
mod standing;
mod tickets;
mod tls;
mod waiting;
mod warnings;
