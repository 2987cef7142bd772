//! A client's body that can be sent again while all of it that was read is kept.
//!
//! Prevents half a body on a second attempt: either everything that was read so far is sent again
//! or there is no second attempt. Memory is bounded per request and per worker.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use hyper::body::Incoming;

/// Bytes that all replays of one worker keep at most; beyond that, bodies are sent once.
const WORKER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// What all replays of one worker keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayMemory(Rc<Cell<usize>>);

/// The next part of a body.
#[derive(Debug)]
pub(crate) enum Part {
    /// Bytes.
    Data(Bytes),
    /// Trailers, the last part.
    Trailers(HeaderMap),
}

/// The client stopped sending, or sent nonsense.
#[derive(Debug)]
pub(crate) struct ClientFailed;

/// A client's body.
#[derive(Debug)]
pub(crate) struct Replay {
    source: Incoming,
    ended: bool,
    kept: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Bytes of `kept` that this attempt has sent.
    sent: usize,
    trailers_sent: bool,
    /// Bytes it may keep; `None` once something read was not kept.
    kept_max: Option<usize>,
    memory: ReplayMemory,
}

impl Replay {
    /// `source`, of which up to `kept_max` bytes are kept.
    pub(crate) fn new(source: Incoming, kept_max: usize, memory: ReplayMemory) -> Self {
        let ended = source.is_end_stream();
        Self {
            source,
            ended,
            kept: Vec::new(),
            trailers: None,
            sent: 0,
            trailers_sent: false,
            kept_max: Some(kept_max),
            memory,
        }
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.ended && self.kept.is_empty() && self.trailers.is_none()
    }

    /// Whether nothing was read of it yet.
    pub(crate) const fn is_untouched(&self) -> bool {
        self.kept.is_empty() && self.kept_max.is_some()
    }

    /// Whether all that was read is kept.
    pub(crate) const fn is_replayable(&self) -> bool {
        self.kept_max.is_some()
    }

    /// Starts over for the next attempt.
    pub(crate) const fn rewind(&mut self) {
        self.sent = 0;
        self.trailers_sent = false;
    }

    /// The next part for this attempt; `None` at the end.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Part>, ClientFailed>> {
        if self.sent < self.kept.len() {
            let again = Bytes::copy_from_slice(&self.kept[self.sent..]);
            self.sent = self.kept.len();
            return Poll::Ready(Ok(Some(Part::Data(again))));
        }
        if self.ended {
            let trailers = self.trailers.clone().filter(|_| !self.trailers_sent);
            self.trailers_sent = true;
            return Poll::Ready(Ok(trailers.map(Part::Trailers)));
        }
        let frame = match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Poll::Ready(Err(ClientFailed)),
            None => {
                self.ended = true;
                return Poll::Ready(Ok(None));
            },
        };
        self.ended = self.source.is_end_stream();
        match frame.into_data() {
            Ok(data) => {
                self.keep(&data);
                Poll::Ready(Ok(Some(Part::Data(data))))
            },
            Err(frame) => {
                self.ended = true;
                let Ok(trailers) = frame.into_trailers() else {
                    return Poll::Ready(Ok(None));
                };
                self.trailers = Some(trailers.clone());
                self.trailers_sent = true;
                Poll::Ready(Ok(Some(Part::Trailers(trailers))))
            },
        }
    }

    fn keep(&mut self, data: &[u8]) {
        let Some(kept_max) = self.kept_max else {
            return;
        };
        let in_use = self.memory.0.get();
        if self.kept.len() + data.len() > kept_max || in_use + data.len() > WORKER_BYTES_MAX {
            self.memory.0.set(in_use - self.kept.len());
            self.kept = Vec::new();
            self.sent = 0;
            self.kept_max = None;
            return;
        }
        self.kept.extend_from_slice(data);
        self.sent = self.kept.len();
        self.memory.0.set(in_use + data.len());
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.memory.0.set(self.memory.0.get() - self.kept.len());
    }
}
