//! What Sluice promises, on real parts: every test is one promise, with a redis-server and gateways of its own.

use sluice_e2e::stage;

mod channels;
mod delivery;
mod drain;
mod embedded;
mod moves;
mod outage;
mod pages;
mod resume;
mod rollout;
mod shapes;
mod slow;
mod state;
mod tail;
