//! The guard between a client's socket and hyper: hyper sees only bytes of messages that have one
//! meaning.
//!
//! Prevents request smuggling, slow-loris clients and clients that never read. Each head is
//! judged once ([`head`]), each body is followed to its end ([`chunked`]), and at most one read
//! buffer is held. After a violation nothing is read any more: answers in flight are finished,
//! then the refusal is written and the connection closed.

pub(crate) mod chunked;
pub(crate) mod head;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::buffer::Buffer;
use crate::config::Limits;
use crate::downstream::Downstream;
use crate::reply::Refusal;

use chunked::{Chunked, Piece};
use head::BodyFraming;

/// What a connection's read buffer starts with.
const BUFFER_BYTES: usize = 2 * 1_024;
/// What it may keep while idle.
const BUFFER_IDLE_BYTES: usize = 4 * 1_024;
/// What it grows to while a body is coming in.
const BUFFER_BODY_BYTES: usize = 32 * 1_024;
/// Bytes thrown away after a refusal, so that the client can read it before the connection resets.
const LINGER_BYTES_MAX: usize = 256 * 1_024;

/// Which part of a message comes next.
#[derive(Debug)]
enum Phase {
    /// `since` its first byte; `skipped` the one empty line that may come before it.
    Head {
        since: Option<Instant>,
        skipped: bool,
    },
    Length {
        left: u64,
    },
    Chunked(Chunked),
    Refused {
        within_body: bool,
    },
}

impl Phase {
    const NEXT: Self = Self::Head {
        since: None,
        skipped: false,
    };

    const fn is_body(&self) -> bool {
        matches!(self, Self::Length { .. } | Self::Chunked(_))
    }
}

/// A client's socket that hands on only what is unambiguous.
#[derive(Debug)]
pub(crate) struct Guard {
    stream: TcpStream,
    downstream: Rc<Downstream>,
    limits: Limits,
    buffer: Buffer,
    /// Bytes at the front of the buffer that hyper may have.
    approved: usize,
    /// Bytes of the buffer that were searched for the end of a head.
    searched: usize,
    phase: Phase,
    /// Since when a wanted body does not move.
    waiting: Option<Instant>,
    read_alarm: Alarm,
    /// Since when the client reads nothing.
    stalled: Option<Instant>,
    write_alarm: Alarm,
    farewell: Option<Vec<u8>>,
}

impl Guard {
    /// Guards `stream`.
    pub(crate) fn new(stream: TcpStream, downstream: Rc<Downstream>, limits: Limits) -> Self {
        Self {
            stream,
            downstream,
            limits,
            buffer: Buffer::with_capacity(BUFFER_BYTES),
            approved: 0,
            searched: 0,
            phase: Phase::NEXT,
            waiting: None,
            read_alarm: Alarm::default(),
            stalled: None,
            write_alarm: Alarm::default(),
            farewell: None,
        }
    }

    /// Approves what can be approved of the unread bytes; `Err` at the first violation.
    fn examine(&mut self) -> Result<(), Refusal> {
        while self.approved < self.buffer.len() {
            let before = self.approved;
            match self.phase {
                Phase::Head { .. } => self.examine_head()?,
                Phase::Length { left } => self.examine_length(left),
                Phase::Chunked(_) => self.examine_chunks()?,
                Phase::Refused { .. } => return Ok(()),
            }
            if self.approved == before && !self.phase.is_body() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn examine_length(&mut self, left: u64) {
        let there = (self.buffer.len() - self.approved) as u64;
        let count = there.min(left);
        self.approved += usize::try_from(count).unwrap_or(usize::MAX);
        self.phase = Phase::Length { left: left - count };
        if left == count {
            self.next_head();
        }
    }

    fn examine_chunks(&mut self) -> Result<(), Refusal> {
        let Phase::Chunked(chunked) = &mut self.phase else {
            return Ok(());
        };
        let (count, piece) = chunked
            .step(&self.buffer.unread()[self.approved..])
            .map_err(|malformed| Refusal::bad_request(malformed.0))?;
        let ended = piece == Piece::End;
        // The message is complete for hyper once its last byte is approved.
        if ended {
            check_trailers(chunked.trailers())?;
        }
        self.approved += count;
        if ended {
            self.next_head();
        }
        Ok(())
    }

    fn next_head(&mut self) {
        self.phase = Phase::NEXT;
        self.searched = self.approved;
    }

    fn examine_head(&mut self) -> Result<(), Refusal> {
        self.skip_empty_line();
        let Some(end) = self.find_head_end()? else {
            return self.incomplete_head();
        };
        let head = &self.buffer.unread()[self.approved..end];
        let framing = head::judge(head, self.limits.headers_max)?;
        self.downstream.admit();
        self.approved = end;
        self.searched = end;
        self.phase = match framing {
            BodyFraming::Length(0) => Phase::NEXT,
            BodyFraming::Length(left) => Phase::Length { left },
            BodyFraming::Chunked => Phase::Chunked(Chunked::new()),
        };
        Ok(())
    }

    /// One empty line before a head is allowed (RFC 9112 §2.2).
    fn skip_empty_line(&mut self) {
        let Phase::Head { skipped, .. } = &mut self.phase else {
            return;
        };
        if *skipped || !self.buffer.unread()[self.approved..].starts_with(b"\r\n") {
            return;
        }
        *skipped = true;
        if self.approved == 0 {
            self.buffer.consume(2);
        } else {
            // Behind bytes that hyper has yet to read: it skips the line itself.
            self.approved += 2;
        }
        self.searched = self.approved;
    }

    /// The end of the head that starts behind the approved bytes, if it is there. Its lines end
    /// in CR LF, and neither byte occurs elsewhere.
    fn find_head_end(&mut self) -> Result<Option<usize>, Refusal> {
        let bytes = self.buffer.unread();
        let start = self.approved;
        while let Some(at) = bytes[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let line_end = self.searched + at;
            let (line, is_empty) = match bytes[self.searched..line_end].split_last() {
                Some((b'\r', line)) => (line, line.is_empty()),
                Some(_) | None => return Err(Refusal::bad_request("a line does not end in CR LF")),
            };
            if is_empty && self.searched == start {
                return Err(Refusal::bad_request("empty lines before the request line"));
            }
            if line.contains(&b'\r') {
                return Err(Refusal::bad_request("CR within a line"));
            }
            self.searched = line_end + 1;
            if is_empty {
                return Ok(Some(line_end + 1));
            }
        }
        Ok(None)
    }

    fn incomplete_head(&mut self) -> Result<(), Refusal> {
        if let Phase::Head { since, .. } = &mut self.phase {
            since.get_or_insert_with(Instant::now);
        }
        let held = self.buffer.len() - self.approved;
        if held < self.limits.head_bytes_max {
            if self.buffer.len() == self.buffer.capacity() {
                let doubled = self.buffer.capacity() * 2;
                self.buffer
                    .grow(doubled.min(self.approved + self.limits.head_bytes_max));
            }
            return Ok(());
        }
        // Not even the request line is complete: it is the target that is too long.
        if self.searched == self.approved {
            return Err(Refusal::uri_too_long());
        }
        Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head_too_large",
            "the request's head is larger than allowed",
        ))
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.downstream.refuse(refusal);
        self.phase = Phase::Refused {
            within_body: self.phase.is_body(),
        };
    }

    /// Nothing may be read any more. Within a body that is an error; between messages it is the
    /// end, but only once the answers in flight are written.
    fn poll_refused(&self, cx: &Context<'_>, within_body: bool) -> Poll<io::Result<()>> {
        if within_body {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if self.downstream.idle_since().is_some() && self.stalled.is_none() {
            return Poll::Ready(Ok(()));
        }
        self.downstream.wake_when_finished(cx.waker());
        Poll::Pending
    }

    /// Until when the client has to send something, if it has to.
    fn read_deadline(&mut self) -> Option<Instant> {
        match self.phase {
            Phase::Head {
                since: Some(since), ..
            } => Some(since + self.limits.head_timeout),
            Phase::Head { since: None, .. } => {
                let idle_since = self.downstream.idle_since()?;
                Some(idle_since + self.limits.head_timeout)
            },
            Phase::Length { .. } | Phase::Chunked(_) => {
                let since = *self.waiting.get_or_insert_with(Instant::now);
                Some(since + self.limits.body_timeout)
            },
            Phase::Refused { .. } => None,
        }
    }

    /// No bytes came; has the client run out of time?
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(deadline) = self.read_deadline() else {
            // An answer is under way. hyper need not ask again when it is finished, so the alarm
            // makes sure that somebody looks at the idle time.
            let soon = Instant::now() + self.limits.head_timeout;
            let _armed = self.read_alarm.poll_at(cx, soon);
            return Poll::Pending;
        };
        ready!(self.read_alarm.poll_at(cx, deadline));
        match self.phase {
            // Idle: the end of the stream, which hyper answers by closing.
            Phase::Head { since: None, .. } | Phase::Refused { .. } => Poll::Ready(Ok(())),
            Phase::Head { since: Some(_), .. } => {
                self.refuse(Refusal::timeout("head_timeout", "the head took too long"));
                self.poll_refused(cx, false)
            },
            Phase::Length { .. } | Phase::Chunked(_) => {
                self.refuse(Refusal::timeout("body_timeout", "the body stopped moving"));
                self.poll_refused(cx, true)
            },
        }
    }

    /// Notes whether the client reads, and ends the connection when it does not for too long.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(result) => {
                if self.stalled.take().is_some() && matches!(self.phase, Phase::Refused { .. }) {
                    // The read side waits for this write; see `poll_refused`.
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(result)
            },
            Poll::Pending => {
                let since = *self.stalled.get_or_insert_with(Instant::now);
                let deadline = since + self.limits.body_timeout;
                ready!(self.write_alarm.poll_at(cx, deadline));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            },
        }
    }

    /// Throws away what the client still sends, for a bounded time and amount: closing a socket
    /// with unread bytes resets it, and the client would never read the refusal.
    pub(crate) async fn linger(mut stream: TcpStream) {
        let mut buffer = Buffer::with_capacity(BUFFER_BYTES);
        let mut left = LINGER_BYTES_MAX;
        while let Ok(count @ 1..) = poll_fn(|cx| buffer.poll_fill(&mut stream, cx)).await {
            buffer.consume(count);
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    }

    /// Whether the client may still be sending what nobody will read.
    pub(crate) const fn must_linger(&self) -> bool {
        self.phase.is_body() || matches!(self.phase, Phase::Refused { .. })
    }

    /// The socket.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// Whether the field `name` decides something in a head and must not come in a trailer (RFC 9110
/// §6.5.1).
pub(crate) fn is_head_only(name: &str) -> bool {
    const HEAD_ONLY: [&str; 13] = [
        "content-length",
        "transfer-encoding",
        "host",
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "connection",
        "upgrade",
        "te",
        "trailer",
        "content-type",
        "content-encoding",
    ];
    HEAD_ONLY
        .iter()
        .any(|head_only| name.eq_ignore_ascii_case(head_only))
}

fn check_trailers(section: &[u8]) -> Result<(), Refusal> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let Ok(httparse::Status::Complete((_, trailers))) =
        httparse::parse_headers(section, &mut slots)
    else {
        return Err(Refusal::bad_request("the trailers are not fields"));
    };
    if trailers.iter().any(|trailer| is_head_only(trailer.name)) {
        return Err(Refusal::bad_request("a field that trailers must not carry"));
    }
    Ok(())
}

impl Read for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.approved > 0 {
                let count = this.approved.min(buf.remaining());
                buf.put_slice(&this.buffer.unread()[..count]);
                this.buffer.consume(count);
                this.approved -= count;
                this.searched -= count.min(this.searched);
                return Poll::Ready(Ok(()));
            }
            if let Phase::Refused { within_body } = this.phase {
                return this.poll_refused(cx, within_body);
            }
            if this.buffer.is_empty() && !this.phase.is_body() {
                this.buffer.shrink(BUFFER_IDLE_BYTES);
            }
            match this.buffer.poll_fill(&mut this.stream, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => this.waiting = None,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return this.poll_late(cx),
            }
            // What was approved before a violation is still hyper's to have.
            if let Err(refusal) = this.examine() {
                this.refuse(refusal);
            }
            if this.phase.is_body() {
                this.buffer.grow(BUFFER_BODY_BYTES);
            }
        }
    }
}

impl Write for Guard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Writes the refusal that is due, if one is, then closes the write side.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A violation within a body is answered by the request it belongs to.
        let between = matches!(this.phase, Phase::Refused { within_body: false });
        if between && let Some(refusal) = this.downstream.take_refusal() {
            this.farewell = Some(refusal.response_bytes());
        }
        while let Some(bytes) = this.farewell.as_mut().filter(|bytes| !bytes.is_empty()) {
            let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
            let count = match result {
                Poll::Ready(result) => result?,
                Poll::Pending => return this.written(cx, Poll::Pending).map_ok(|_| ()),
            };
            bytes.drain(..count);
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
