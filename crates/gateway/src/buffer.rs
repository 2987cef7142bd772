//! A read buffer that never holds uninitialised memory and never moves bytes it need not.
//!
//! Prevents an allocation per read: the same bytes are read into again and again. It always
//! holds `unread()` bytes between `start` and `end`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// What one read may fill at least; below this the buffer makes room first.
const ROOM_MIN: usize = 1_024;

/// Bytes that were read and not yet used.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer of `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            start: 0,
            end: 0,
        }
    }

    /// The bytes not yet used.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How many bytes are not yet used.
    pub(crate) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether all bytes are used.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What the buffer can hold.
    pub(crate) const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Marks the first `count` unread bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Makes the buffer hold at least `capacity` bytes.
    pub(crate) fn grow(&mut self, capacity: usize) {
        if self.bytes.len() < capacity {
            self.bytes.resize(capacity, 0);
        }
    }

    /// Gives memory back: an empty buffer larger than `capacity` becomes one of that size.
    pub(crate) fn shrink(&mut self, capacity: usize) {
        if self.is_empty() && self.bytes.len() > capacity {
            self.bytes.truncate(capacity);
            self.bytes.shrink_to_fit();
        }
    }

    /// Reads once; 0 at the end of the stream, and also when the buffer is full.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.start > 0 && self.bytes.len() - self.end < ROOM_MIN {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut room = ReadBuf::new(&mut self.bytes[self.end..]);
        match Pin::new(reader).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) => {
                let count = room.filled().len();
                self.end += count;
                Poll::Ready(Ok(count))
            },
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_buffer_makes_room_by_moving_what_is_unread() {
        let mut source: &[u8] = &[7_u8; 3_000];
        let mut buffer = Buffer::with_capacity(2_000);
        std::future::poll_fn(|cx| buffer.poll_fill(&mut source, cx))
            .await
            .expect("a slice reads");
        buffer.consume(1_500);
        let count = std::future::poll_fn(|cx| buffer.poll_fill(&mut source, cx))
            .await
            .expect("a slice reads");
        assert_eq!((count, buffer.len()), (1_000, 1_500));
    }
}
