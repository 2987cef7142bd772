//! An answer's body on its way from the endpoint to the client.
//!
//! Prevents unbounded memory (one read is in memory at a time, the client's pace decides) and cut
//! answers taken for whole ones: a body that ends early is an error for the client and a failure
//! of the endpoint.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http_body::Frame;
use mainstay_core::outcome::{Outcome, Reason};
use tokio::time::{Duration, Instant};

use crate::alarm::Alarm;
use crate::cache::Recording;
use crate::clock::Clock;
use crate::framing::chunked::{Chunked, Piece};
use crate::replay::Replay;

use super::answer::Framing;
use super::attempt::Attempt;
use super::pool::Lease;

/// What the read buffer grows to while a large body streams.
const BUFFER_BYTES: usize = 64 * 1_024;
/// Bodies that may have more to come than this are read with the large buffer.
const LARGE_BYTES: u64 = 16 * 1_024;
/// An answer whose body still flows after this long is judged good: a stream without end must
/// not hold a permit for ever.
const JUDGED_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Left {
    Length(u64),
    Chunked(Chunked),
    Close,
    Nothing,
}

/// A body that streams.
#[derive(Debug)]
pub(crate) struct Stream {
    /// `None` once the body ended.
    lease: Option<Lease>,
    left: Left,
    /// The client's body, while it is still being sent.
    upload: Option<Replay>,
    keep_alive: bool,
    attempt: Attempt,
    recording: Option<Recording>,
    clock: Clock,
    started: Instant,
    idle_max: Duration,
    waiting: Option<Instant>,
    alarm: Alarm,
}

/// What a stream is made of.
#[derive(Debug)]
pub(crate) struct Source {
    /// The connection.
    pub(crate) lease: Lease,
    /// How the body is delimited.
    pub(crate) framing: Framing,
    /// The client's body, if it is not yet sent.
    pub(crate) upload: Option<Replay>,
    /// Whether the connection can be used again.
    pub(crate) keep_alive: bool,
    /// The attempt, judged when the body ends.
    pub(crate) attempt: Attempt,
}

impl Stream {
    /// The body that follows on a connection; it must move at least every `idle_max`.
    pub(crate) fn new(source: Source, clock: Clock, now: Instant, idle_max: Duration) -> Self {
        let mut lease = source.lease;
        let (left, large) = match source.framing {
            Framing::Empty => (Left::Nothing, false),
            Framing::Length(left) => (Left::Length(left), left > LARGE_BYTES),
            Framing::Chunked => (Left::Chunked(Chunked::new()), false),
            Framing::Close => (Left::Close, true),
        };
        if large {
            lease.input().grow(BUFFER_BYTES);
        }
        Self {
            lease: Some(lease),
            left,
            upload: source.upload,
            keep_alive: source.keep_alive,
            attempt: source.attempt,
            recording: None,
            clock,
            started: now,
            idle_max,
            waiting: None,
            alarm: Alarm::default(),
        }
    }

    /// Lets `recording` keep what passes.
    pub(crate) fn record(&mut self, recording: Recording) {
        self.recording = Some(recording);
    }

    /// Whether all of it was handed on.
    pub(crate) const fn is_ended(&self) -> bool {
        self.lease.is_none()
    }

    /// How many bytes follow, if that is known.
    pub(crate) const fn bytes_left(&self) -> Option<u64> {
        match self.left {
            Left::Length(left) => Some(left),
            Left::Nothing => Some(0),
            Left::Chunked(_) | Left::Close => None,
        }
    }

    /// The next part.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll_upload(cx);
        loop {
            match self.take() {
                Ok(Taken::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Taken::End) => return Poll::Ready(None),
                Ok(Taken::Nothing) => {},
                Err(reason) => return Poll::Ready(Some(Err(self.fail(reason)))),
            }
            let Some(lease) = &mut self.lease else {
                return Poll::Ready(None);
            };
            match lease.poll_fill(cx) {
                Poll::Ready(Ok(0)) if matches!(self.left, Left::Close) => {
                    self.end();
                    return Poll::Ready(None);
                },
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Some(Err(self.fail(Reason::Reset))));
                },
                Poll::Ready(Ok(_)) => self.waiting = None,
                Poll::Pending => {
                    return self.poll_late(cx).map(|error| Some(Err(error)));
                },
            }
        }
    }

    /// Nothing came; has the endpoint run out of time?
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        self.alarm
            .poll_at(cx, since + self.idle_max)
            .map(|()| self.fail(Reason::Timeout))
    }

    /// The client may still be sending while the answer comes back.
    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        let (Some(lease), Some(upload)) = (&mut self.lease, &mut self.upload) else {
            return;
        };
        match lease.poll_send(cx, upload) {
            Poll::Pending => {},
            Poll::Ready(Ok(())) => self.upload = None,
            // The answer decides what that means; the connection is spent.
            Poll::Ready(Err(_)) => {
                self.upload = None;
                self.keep_alive = false;
            },
        }
    }

    /// Takes what can be handed on of the bytes that were read.
    fn take(&mut self) -> Result<Taken, Reason> {
        let Some(lease) = &mut self.lease else {
            return Ok(Taken::End);
        };
        let input = lease.input();
        if matches!(self.left, Left::Nothing) {
            self.end();
            return Ok(Taken::End);
        }
        // A decoder that is done still has its trailers to give.
        let done = matches!(&self.left, Left::Chunked(chunked) if chunked.is_done());
        if input.is_empty() && !done {
            return Ok(Taken::Nothing);
        }
        let data = match &mut self.left {
            Left::Length(left) => {
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                let data = Bytes::copy_from_slice(&input.unread()[..count]);
                input.consume(count);
                *left -= count as u64;
                if *left == 0 {
                    self.left = Left::Nothing;
                }
                data
            },
            Left::Close => {
                let data = Bytes::copy_from_slice(input.unread());
                input.consume(data.len());
                data
            },
            Left::Chunked(chunked) => {
                let mut data = Vec::new();
                let ended = dechunk(chunked, lease, &mut data)?;
                if ended {
                    return self.chunks_ended(data);
                }
                if data.is_empty() {
                    return Ok(Taken::Nothing);
                }
                Bytes::from(data)
            },
            Left::Nothing => Bytes::new(),
        };
        self.pass(&data);
        if matches!(self.left, Left::Nothing) {
            self.end();
        }
        Ok(Taken::Frame(Frame::data(data)))
    }

    /// The last chunk was read; `data` is what came with it.
    fn chunks_ended(&mut self, data: Vec<u8>) -> Result<Taken, Reason> {
        if !data.is_empty() {
            // The trailers stay with the decoder, which gives its end again.
            let data = Bytes::from(data);
            self.pass(&data);
            return Ok(Taken::Frame(Frame::data(data)));
        }
        let Left::Chunked(chunked) = std::mem::replace(&mut self.left, Left::Nothing) else {
            return Ok(Taken::End);
        };
        let trailers = trailers(chunked.trailers()).ok_or(Reason::Protocol)?;
        self.end();
        if trailers.is_empty() {
            return Ok(Taken::End);
        }
        Ok(Taken::Frame(Frame::trailers(trailers)))
    }

    fn pass(&mut self, data: &Bytes) {
        if let Some(recording) = &mut self.recording {
            recording.push(data);
        }
        if self.started.elapsed() >= JUDGED_AFTER {
            self.attempt.settle(Outcome::Success, self.clock.now());
        }
    }

    /// The body is complete.
    fn end(&mut self) {
        let now = Instant::now();
        self.attempt.settle(Outcome::Success, self.clock.at(now));
        if let Some(recording) = self.recording.take() {
            recording.complete(self.clock.at(now));
        }
        if let Some(lease) = self.lease.take()
            && self.keep_alive
            && lease.is_reusable()
        {
            lease.release(now);
        }
    }

    fn fail(&mut self, reason: Reason) -> io::Error {
        self.attempt
            .settle(Outcome::Failure(reason), self.clock.now());
        self.recording = None;
        self.lease = None;
        let kind = if reason == Reason::Timeout {
            io::ErrorKind::TimedOut
        } else {
            io::ErrorKind::UnexpectedEof
        };
        io::Error::new(kind, "the endpoint did not finish its answer")
    }
}

enum Taken {
    Frame(Frame<Bytes>),
    Nothing,
    End,
}

/// Moves the data of all chunks read so far to `data`; true at the message's end.
fn dechunk(chunked: &mut Chunked, lease: &mut Lease, data: &mut Vec<u8>) -> Result<bool, Reason> {
    loop {
        let input = lease.input();
        if input.is_empty() && !chunked.is_done() {
            return Ok(false);
        }
        let (count, piece) = chunked.step(input.unread()).map_err(|_| Reason::Protocol)?;
        if piece == Piece::Data {
            data.extend_from_slice(&input.unread()[..count]);
        }
        input.consume(count);
        if piece == Piece::End {
            return Ok(true);
        }
    }
}

/// The trailers as fields, without those that a trailer must not carry.
fn trailers(section: &[u8]) -> Option<HeaderMap> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(section, &mut slots)
    else {
        return None;
    };
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if crate::framing::is_head_only(name.as_str()) {
            continue;
        }
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(headers)
}
