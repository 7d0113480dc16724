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

const WHAT_IT_DOES: &str = "\
Publishes made-up prices, notices, jobs and log lines on demo.prices, demo.notices, demo.jobs and demo.log. Follows
demo.ask: counts likes on demo.likes, runs jobs, and answers questions word by word on the demo.answer.* channel that
the question names, from a few written answers. No model is behind it, and it calls nobody else.

It is a small service of its own on purpose: a gateway holds no application code, and this is how a real backend would
stand beside it. It keeps no state either: the count of likes is the last event of demo.likes, so stop and start it as
you like. When Redis or the gateway goes away it says so, and goes on once it is back.";

#[derive(Args)]
#[command(after_help = WHAT_IT_DOES)]
pub struct DemoLine {
    #[command(flatten)]
    link: LinkLine,
}

pub fn resolve(line: &DemoLine, matches: &ArgMatches) -> Result<Demo, Failure> {
    Ok(Demo {
        link: link(&line.link, matches)?,
    })
}
