//! `sluice demo`: its command line and what it resolves to.

use clap::{ArgMatches, Args};

use super::line::LinkLine;
use super::{Link, link};
use crate::failure::Failure;

/// `sluice demo`, resolved.
#[derive(Debug)]
pub struct Demo {
    pub link: Link,
}

const LONG: &str = "\
Play the backend of the demo page: publish its events, count likes, answer questions

Publishes made-up prices, notices, jobs and log lines on `demo.prices`, `demo.notices`, `demo.jobs` and `demo.log`. Follows
`demo.ask`: it counts likes on `demo.likes`, runs jobs, and answers questions word by word on the `demo.answer.*` channel
that the question names, from a few written answers; no model and no network are behind it.

It is a small service of its own on purpose: a gateway holds no application code, and this is how a real backend stands
beside it. It keeps no state either: the count of likes is the last event of `demo.likes`, so it may be stopped and started.
When Redis or the gateway goes away it says so and goes on once it is back.";

#[derive(Args)]
#[command(long_about = LONG)]
pub struct DemoLine {
    #[command(flatten)]
    link: LinkLine,
}

pub fn resolve(line: &DemoLine, matches: &ArgMatches) -> Result<Demo, Failure> {
    Ok(Demo {
        link: link(&line.link, matches)?,
    })
}
