//! The gateway against real Redis servers, and its embedded broker beside them.

#[path = "../harness/mod.rs"]
mod harness;

mod connection;
mod delivery;
mod foreign;
mod library;
mod orders;
mod reports;
mod tickets;
mod waiting;
mod warnings;
