//! What anybody on the internet may send to a gateway, and what it must survive: every test is one promise, with a
//! redis-server and a gateway of its own, and with readers that must get everything meanwhile.

use sluice_e2e::stage;

mod bombs;
mod cases;
mod exchange;
mod frames;
mod ground;
mod malformed;
mod storm;
mod trickle;
