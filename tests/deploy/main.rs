//! What deploy/ ships, on real parts: servers started with the very files of deploy/redis, the units of deploy/systemd before
//! systemd's own judge, the images built and run from their own root, the compose file before its schema.

mod booted;
mod compose;
mod composed;
mod gateway;
mod image;
mod redis_cluster;
mod redis_sentinel;
mod redis_standalone;
mod rootfs;
mod server;
mod tools;
mod trust;
mod units;
