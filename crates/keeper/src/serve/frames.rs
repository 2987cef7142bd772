//! What came from a connection, cut into messages.
//!
//! Prevents memory that is given for a promise: room grows with the bytes that came, and a message
//! that is too long is refused when its first four bytes are there.

use std::io;

use mainstay_zk_proto::frame::{self, PREFIX_BYTES, TooLong};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes for which there is room at a client that says little: most of them do.
const READ_BYTES_MIN: usize = 2 << 10;
/// Bytes for which there is room at a client that says much.
const READ_BYTES_BUSY: usize = 64 << 10;
/// Bytes by which the room for a long message grows.
const READ_BYTES_MAX: usize = 256 << 10;

/// Bytes that came and were not taken yet.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Where the first message that was not taken begins.
    start: usize,
    bytes_max: usize,
    /// Room for the next read: more after full ones, less after small ones.
    room: usize,
}

impl Frames {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            bytes_max,
            room: READ_BYTES_MIN,
        }
    }

    /// What is there.
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The length of the next message, if it is there as a whole.
    pub(super) fn next_len(&self) -> Result<Option<usize>, TooLong> {
        let rest = self.rest();
        let length = frame::length(rest, self.bytes_max)?;
        Ok(length.filter(|length| rest.len() >= PREFIX_BYTES + length))
    }

    /// Takes the next message, whose length is known.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let begin = self.start + PREFIX_BYTES;
        self.start = begin + length;
        self.buffer.get(begin..self.start).unwrap_or_default()
    }

    /// Waits for more; zero bytes are the end. What was read is kept when nobody waits any more.
    pub(super) async fn more(&mut self, input: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.make_room();
        let spare = self.buffer.capacity() - self.buffer.len();
        let read = input.read_buf(&mut self.buffer).await?;
        if read == spare {
            self.room = (self.room * 2).min(READ_BYTES_BUSY);
        } else if read < self.room / 4 {
            self.room = (self.room / 2).max(READ_BYTES_MIN);
        }
        Ok(read)
    }

    fn make_room(&mut self) {
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * self.room {
            self.buffer = Vec::new();
        }
        let expected = match frame::length(&self.buffer, self.bytes_max) {
            Ok(Some(length)) => (PREFIX_BYTES + length).saturating_sub(self.buffer.len()),
            Ok(None) | Err(_) => 0,
        };
        self.buffer
            .reserve(expected.clamp(self.room, READ_BYTES_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lengths_in(frames: &mut Frames, mut part: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while frames.more(&mut part).await.expect("a slice does not fail") > 0 {
            while let Some(length) = frames.next_len().expect("short enough") {
                lengths.push(frames.take(length).len());
            }
        }
        lengths
    }

    #[tokio::test]
    async fn messages_are_found_however_they_are_cut() {
        let mut bytes = Vec::new();
        for length in [0_usize, 1, 300] {
            frame::append(&mut bytes, |out| out.resize(out.len() + length, 7));
        }
        for cut in 1..bytes.len() {
            let mut frames = Frames::new(300);
            let mut lengths = Vec::new();
            lengths.extend(lengths_in(&mut frames, &bytes[..cut]).await);
            lengths.extend(lengths_in(&mut frames, &bytes[cut..]).await);
            assert_eq!(lengths, [0, 1, 300], "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_client_that_falls_silent_keeps_no_room() {
        let mut frames = Frames::new(1 << 20);
        let mut long = Vec::new();
        frame::append(&mut long, |out| out.extend_from_slice(&vec![7; 1 << 17]));
        assert_eq!(lengths_in(&mut frames, &long).await, [1 << 17]);
        let mut short = Vec::new();
        frame::append(&mut short, |_| {});
        for _ in 0..10 {
            assert_eq!(lengths_in(&mut frames, &short).await, [0]);
        }
        assert!(frames.buffer.capacity() <= 2 * READ_BYTES_MIN);
    }

    #[tokio::test]
    async fn a_promise_gets_no_memory() {
        let mut frames = Frames::new(1 << 30);
        let mut promise = &(1_i32 << 30).to_be_bytes()[..];
        frames.more(&mut promise).await.expect("four bytes");
        frames.make_room();
        assert!(frames.buffer.capacity() <= 2 * READ_BYTES_MAX);
        let mut frames = Frames::new(99);
        let mut promise = &100_i32.to_be_bytes()[..];
        frames.more(&mut promise).await.expect("four bytes");
        assert!(frames.next_len().is_err());
    }
}
