//! An event stream, watched: when its bytes came, and how often a line that is only a heartbeat.

use std::collections::VecDeque;

use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use crate::gateway_link;
use crate::sse::{Block, Parser};

/// An open stream.
pub struct Stream {
    response: Response,
    parser: Parser,
    blocks: VecDeque<Block>,
    /// When the request was sent.
    pub begun: Instant,
    pub first_byte: Option<Instant>,
    /// Comment lines so far, the first of which comes with the headers.
    pub comments: u32,
    at_line_start: bool,
}

/// Why nothing came.
#[derive(Debug, PartialEq)]
pub enum Quiet {
    /// Nothing in the time given; the stream is still open.
    Silent,
    Ended(String),
}

impl std::fmt::Display for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Quiet::Silent => f.write_str("nothing came in time"),
            Quiet::Ended(why) => f.write_str(why),
        }
    }
}

impl Stream {
    pub fn new(response: Response, begun: Instant) -> Stream {
        Stream {
            response,
            parser: Parser::default(),
            blocks: VecDeque::new(),
            begun,
            first_byte: None,
            comments: 0,
            at_line_start: true,
        }
    }

    /// Where to go on: the id of the last block read.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// The next block.
    pub async fn next(&mut self, until: Instant) -> Result<Block, Quiet> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                return Ok(block);
            }
            let chunk = match timeout_at(until, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Err(Quiet::Ended("the stream ended".into())),
                Ok(Err(error)) => {
                    return Err(Quiet::Ended(format!(
                        "the stream broke ({})",
                        gateway_link::cause(&error)
                    )));
                }
                Err(_) => return Err(Quiet::Silent),
            };
            self.first_byte.get_or_insert_with(Instant::now);
            for byte in &chunk {
                self.comments += u32::from(self.at_line_start && *byte == b':');
                self.at_line_start = matches!(byte, b'\n' | b'\r');
            }
            let mut blocks = Vec::new();
            let fed = self.parser.feed(&chunk, &mut blocks);
            self.blocks.extend(blocks);
            fed.map_err(|error| Quiet::Ended(error.to_string()))?;
        }
    }

    /// The next block of which `is_wanted` says so; others are dropped.
    pub async fn block(
        &mut self,
        until: Instant,
        is_wanted: impl Fn(&Block) -> bool,
    ) -> Result<Block, Quiet> {
        loop {
            let block = self.next(until).await?;
            if is_wanted(&block) {
                return Ok(block);
            }
        }
    }
}
