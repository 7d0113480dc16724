//! Sluice behind real load balancers, each with the files of deploy/lb and with what one writes before having read about
//! streams: what the first keep, and what the second do. `make lb-test` runs all of it; the tests of `short` are a stage of
//! `make test`. What is measured is printed, and stands in docs/load-balancers.md.

mod balancer;
mod chromium;
mod dead;
mod discovery;
mod drain;
mod edited;
mod fleet;
mod forwarding;
mod idle;
mod listening;
mod measure;
mod operated;
mod over_h2;
mod reload;
mod short;
mod stop;
mod wrong;
