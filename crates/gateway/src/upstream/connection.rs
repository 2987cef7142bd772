//! One connection to an endpoint: a request goes out, an answer's head comes back.
//!
//! Prevents doubled requests: it knows whether a single byte was handed to the system, so
//! "never sent" is a fact and not a guess. It is driven by the request's own task, without a task
//! or a channel of its own, and it reads strictly: an answer that can be read in two ways is a
//! failure of the endpoint.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use mainstay_core::outcome::Reason;
use socket2::SockRef;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::buffer::Buffer;
use crate::forward;
use crate::replay::{ClientFailed, Part, Replay};

use super::answer::{self, Head};

/// What a connection's read buffer starts with.
const BUFFER_BYTES: usize = 4 * 1_024;
/// What it may keep while idle.
const BUFFER_REST_BYTES: usize = 16 * 1_024;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// Interim answers (1xx) before the real one.
const INTERIM_MAX: u32 = 16;
/// Parts of a body up to this size are copied behind what is already to be sent.
const COPY_BYTES_MAX: usize = 4 * 1_024;

/// How far the request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// The client waits for leave to send its body, and the endpoint has not given it.
    Held {
        /// Whether the body will be chunked.
        chunked: bool,
    },
    /// The body follows.
    Body {
        /// Whether it is chunked; else its length was announced.
        chunked: bool,
    },
    /// Nothing is left but what is in the buffers.
    Last,
}

impl Sending {
    /// Whether the body goes out in chunks.
    pub(crate) const fn is_chunked(self) -> bool {
        matches!(
            self,
            Self::Held { chunked: true } | Self::Body { chunked: true }
        )
    }
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Not a byte left us.
    NeverSent(Reason),
    /// The endpoint may have seen the request.
    Sent(Reason),
    /// The client's body failed; nothing is known of the endpoint.
    Client,
    /// The client's body did not come in time; nothing is known of the endpoint.
    ClientLate,
    /// The client's body left the endpoint too little of the time.
    CutShort,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: Buffer,
    output: Vec<u8>,
    written: usize,
    /// A large part of the body, sent behind `output` without a copy.
    large: Bytes,
    sending: Sending,
    touched: bool,
    interim: u32,
    opened: Instant,
    idle_since: Instant,
}

impl Connection {
    /// A connection just made.
    pub(crate) fn new(stream: TcpStream, now: Instant) -> Self {
        Self {
            stream,
            input: Buffer::with_capacity(BUFFER_BYTES),
            output: Vec::with_capacity(512),
            written: 0,
            large: Bytes::new(),
            sending: Sending::Last,
            touched: false,
            interim: 0,
            opened: now,
            idle_since: now,
        }
    }

    /// When it was made.
    pub(crate) const fn opened(&self) -> Instant {
        self.opened
    }

    /// Since when it is idle.
    pub(crate) const fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// Whether nothing arrived on the idle connection, not even its end. `careful` asks the
    /// system, else what the runtime has been told so far decides.
    pub(crate) fn is_quiet(&self, careful: bool) -> bool {
        let mut byte = [0_u8; 1];
        let blocks = |result: io::Result<usize>| {
            result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        blocks(self.stream.try_read(&mut byte))
            && (!careful || {
                let mut byte = [std::mem::MaybeUninit::new(0_u8); 1];
                blocks(SockRef::from(&self.stream).peek(&mut byte))
            })
    }

    /// Goes to rest in the pool.
    pub(crate) fn rest(&mut self, now: Instant) {
        self.idle_since = now;
        self.input.shrink(BUFFER_REST_BYTES);
        self.output.shrink_to(BUFFER_REST_BYTES);
    }

    /// Starts an exchange; `write_head` writes the request's head.
    pub(crate) fn begin(&mut self, sending: Sending, write_head: impl FnOnce(&mut Vec<u8>)) {
        self.output.clear();
        self.written = 0;
        self.large = Bytes::new();
        self.sending = sending;
        self.touched = false;
        self.interim = 0;
        write_head(&mut self.output);
    }

    /// Whether the whole request is out and nothing came that nobody asked for.
    pub(crate) fn is_reusable(&self) -> bool {
        self.is_sent() && self.input.is_empty()
    }

    /// Whether the whole request is out.
    pub(crate) fn is_sent(&self) -> bool {
        self.sending == Sending::Last && self.is_flushed()
    }

    const fn is_flushed(&self) -> bool {
        self.written == self.output.len() && self.large.is_empty()
    }

    /// The client's body need not wait for the endpoint's leave any longer.
    pub(crate) const fn stop_holding(&mut self) {
        if let Sending::Held { chunked } = self.sending {
            self.sending = Sending::Body { chunked };
        }
    }

    /// Whether the client's body is what everybody waits for.
    pub(crate) const fn awaits_client(&self) -> bool {
        matches!(self.sending, Sending::Body { .. }) && self.is_flushed()
    }

    /// Whether the body waits for the endpoint's leave.
    pub(crate) const fn is_holding(&self) -> bool {
        matches!(self.sending, Sending::Held { .. })
    }

    /// What was read and not used.
    pub(crate) const fn input(&mut self) -> &mut Buffer {
        &mut self.input
    }

    /// Reads once.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.poll_fill(&mut self.stream, cx)
    }

    /// Sends and receives until the answer's head is there.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        to_head: bool,
        body: &mut Replay,
    ) -> Poll<Result<Head, Failure>> {
        loop {
            let broken = match self.poll_send(cx, body) {
                Poll::Ready(Err(Failure::Client)) => return Poll::Ready(Err(Failure::Client)),
                Poll::Ready(Err(failure)) => Some(failure),
                Poll::Ready(Ok(())) | Poll::Pending => None,
            };
            // An endpoint may answer and close without reading the whole request, so what can
            // be read is read even after a failed write.
            match self.input.poll_fill(&mut self.stream, cx) {
                Poll::Ready(Ok(1..)) => {},
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Err(broken.unwrap_or_else(|| self.reset())));
                },
                Poll::Pending => {
                    return broken.map_or(Poll::Pending, |failure| Poll::Ready(Err(failure)));
                },
            }
            if let Some(head) = self.parse(to_head)? {
                return Poll::Ready(Ok(head));
            }
            if !self.make_room() {
                return Poll::Ready(Err(Failure::Sent(Reason::Protocol)));
            }
        }
    }

    /// Whether there is room for more of a head.
    fn make_room(&mut self) -> bool {
        if self.input.len() < self.input.capacity() {
            return true;
        }
        self.input.grow(self.input.capacity() * 2);
        self.input.capacity() <= HEAD_BYTES_MAX
    }

    const fn reset(&self) -> Failure {
        if self.touched {
            Failure::Sent(Reason::Reset)
        } else {
            Failure::NeverSent(Reason::Reset)
        }
    }

    /// The head of the final answer, if all of it is there; interim ones are skipped.
    fn parse(&mut self, to_head: bool) -> Result<Option<Head>, Failure> {
        loop {
            let parsed = answer::parse(self.input.unread(), to_head)
                .map_err(|_| Failure::Sent(Reason::Protocol))?;
            match parsed {
                answer::Parsed::Partial => return Ok(None),
                answer::Parsed::Interim { length, leave } => {
                    self.input.consume(length);
                    self.interim_came(leave)?;
                },
                answer::Parsed::Final { head, length } => {
                    self.input.consume(length);
                    return Ok(Some(head));
                },
            }
        }
    }

    fn interim_came(&mut self, leave: bool) -> Result<(), Failure> {
        self.interim += 1;
        if self.interim > INTERIM_MAX {
            return Err(Failure::Sent(Reason::Protocol));
        }
        if leave {
            self.stop_holding();
        }
        Ok(())
    }

    /// Sends what is to be sent; ready when the whole request is out.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Replay,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if self.wants_part()
                && let Poll::Ready(part) = body.poll_part(cx)
            {
                self.put(part.map_err(|ClientFailed| Failure::Client)?);
                continue;
            }
            if self.is_flushed() {
                return match self.sending {
                    Sending::Last => Poll::Ready(Ok(())),
                    Sending::Held { .. } | Sending::Body { .. } => Poll::Pending,
                };
            }
            if let Err(failure) = ready!(self.poll_write(cx)) {
                return Poll::Ready(Err(failure));
            }
        }
    }

    /// Whether there is room for the next part of the body.
    const fn wants_part(&self) -> bool {
        matches!(self.sending, Sending::Body { .. })
            && self.output.len() - self.written < COPY_BYTES_MAX
            && self.large.is_empty()
    }

    fn put(&mut self, part: Option<Part>) {
        let chunked = self.sending.is_chunked();
        if self.is_flushed() {
            self.output.clear();
            self.written = 0;
        }
        match part {
            Some(Part::Data(data)) if chunked => {
                if data.is_empty() {
                    return;
                }
                forward::write_chunk_size(&mut self.output, data.len());
                // The chunk's end goes in front of whatever comes next, but a large part must
                // be followed by it, so chunks are always copied.
                self.output.extend_from_slice(&data);
                self.output.extend_from_slice(b"\r\n");
            },
            Some(Part::Data(data)) if data.len() > COPY_BYTES_MAX => self.large = data,
            Some(Part::Data(data)) => self.output.extend_from_slice(&data),
            Some(Part::Trailers(trailers)) => self.put_end(chunked, Some(&trailers)),
            None => self.put_end(chunked, None),
        }
    }

    fn put_end(&mut self, chunked: bool, trailers: Option<&HeaderMap>) {
        self.sending = Sending::Last;
        if chunked {
            forward::write_last_chunk(&mut self.output, trailers);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let head = &self.output[self.written..];
        let stream = Pin::new(&mut self.stream);
        let result = if self.large.is_empty() {
            stream.poll_write(cx, head)
        } else {
            let slices = [IoSlice::new(head), IoSlice::new(&self.large)];
            stream.poll_write_vectored(cx, &slices)
        };
        match ready!(result) {
            Ok(0) | Err(_) => Poll::Ready(Err(self.reset())),
            Ok(count) => {
                self.touched = true;
                let of_head = count.min(self.output.len() - self.written);
                self.written += of_head;
                self.large.advance(count - of_head);
                Poll::Ready(Ok(()))
            },
        }
    }
}
