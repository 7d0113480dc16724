//! Standard output: lines are kept together and flushed when the caller says so.
//! A reader that went away is not an error; the caller is told, once, and decides.

use std::io::{self, BufWriter, Stdout, Write};

use crate::failure::Failure;

/// Buffered standard output.
pub struct Output {
    out: BufWriter<Stdout>,
    closed: bool,
}

impl Output {
    pub fn new() -> Output {
        Output {
            out: BufWriter::new(io::stdout()),
            closed: false,
        }
    }

    /// Whether the reader of the pipe has gone; every later line is dropped.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes `line` and a newline.
    ///
    /// # Errors
    /// When standard output cannot be written, other than by a closed pipe.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let written = self
            .out
            .write_all(line)
            .and_then(|()| self.out.write_all(b"\n"));
        self.settle(written)
    }

    /// Hands everything written so far to the reader.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.settle(flushed)
    }

    fn settle(&mut self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::failed(format!(
                "cannot write to standard output: {error}"
            ))),
        }
    }
}
