//! What one pull gives: shared bytes as they are when there is one block, one
//! buffer when there are several.

use bytes::{Bytes, BytesMut};

/// Bytes on their way to one socket.
#[derive(Debug, Default)]
pub struct Chunk {
    one: Option<Bytes>,
    many: BytesMut,
}

impl Chunk {
    /// Adds a block; the first one is not copied while it stays alone.
    pub fn push(&mut self, block: Bytes) {
        if self.is_empty() {
            self.one = Some(block);
        } else {
            self.buffer().extend_from_slice(&block);
        }
    }

    /// A buffer to append to.
    pub fn buffer(&mut self) -> &mut BytesMut {
        if let Some(one) = self.one.take() {
            self.many.extend_from_slice(&one);
        }
        &mut self.many
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.many.len() + self.one.as_ref().map_or(0, Bytes::len)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, all together.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        self.one.unwrap_or_else(|| self.many.freeze())
    }
}
