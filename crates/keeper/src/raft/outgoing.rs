//! What is to be written to another member, and when it has to be.
//!
//! Prevents a message that nobody waits for from waking the other member: it goes with the next one
//! that somebody waits for, or by itself when none comes for [`LINGER`].

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use super::frame::{Kind, write_frame};

/// How long what nobody waits for may wait for something to go with.
pub(super) const LINGER: Duration = Duration::from_millis(2);

/// Room that is kept when all is written.
const KEPT_BYTES: usize = 256 * 1_024;

/// Frames that are to be written, in order.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// Whether bytes were handed over that may not be on their way.
    unflushed: bool,
    /// When the first of them has to be written.
    due: Option<Instant>,
}

impl Outgoing {
    /// Adds a frame behind all others.
    pub(super) fn push(&mut self, id: u64, kind: Kind, body: &[u8]) {
        write_frame(&mut self.bytes, id, kind, body);
        self.due_by(Instant::now());
    }

    /// Adds one that may wait. It still goes before those that come later.
    pub(super) fn push_late(&mut self, id: u64, kind: Kind, body: &[u8]) {
        write_frame(&mut self.bytes, id, kind, body);
        self.due_by(Instant::now() + LINGER);
    }

    fn due_by(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Bytes that wait.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether something has to be written now.
    pub(super) fn is_due(&self) -> bool {
        self.unflushed || self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Waits until something has to be written; for ever when there is nothing.
    pub(super) async fn due(&self) {
        match self.due {
            _ if self.is_due() => {},
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Hands all over, and sees to it that it is on its way. Giving up while it waits loses nothing.
    pub(super) async fn send(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while self.len() > 0 {
            match stream.write(&self.bytes[self.written..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
            self.unflushed = true;
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.written = 0;
        self.due = None;
        stream.flush().await?;
        self.unflushed = false;
        Ok(())
    }
}
