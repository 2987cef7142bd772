//! One direction of a connection, and the end of one.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mainstay_core::random::Random;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Latency;
use crate::trace::Trace;

/// Bytes on their way; who writes more waits.
const WINDOW_BYTES: usize = 256 * 1_024;

/// Bytes in one direction.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) direction: (String, String),
    pub(super) latency: Latency,
    random: Random,
    trace: Trace,
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// When the last piece arrives; none overtakes another.
    last: Instant,
    /// When the reader hears that there is no more.
    end: Option<Instant>,
    stage: Stage,
    is_cut: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Piece {
    arrives: Instant,
    bytes: Vec<u8>,
    read: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// One end has no power: what is written is lost, and nobody says so.
    Silent,
    Reset,
}

impl Pipe {
    pub(super) fn new(
        direction: (String, String),
        latency: Latency,
        random: Random,
        trace: Trace,
    ) -> Self {
        Self {
            direction,
            latency,
            random,
            trace,
            pieces: VecDeque::new(),
            bytes: 0,
            last: Instant::now(),
            end: None,
            stage: Stage::Open,
            is_cut: false,
            reader_gone: false,
            reader: None,
            writer: None,
        }
    }

    pub(super) fn is_of(&self, name: &str) -> bool {
        self.direction.0 == name || self.direction.1 == name
    }

    pub(super) fn cut(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
        self.wake();
    }

    pub(super) fn reset(&mut self) {
        self.stage = Stage::Reset;
        self.pieces.clear();
        self.wake();
    }

    pub(super) fn silence(&mut self) {
        self.stage = Stage::Silent;
        self.pieces.clear();
        self.bytes = 0;
        self.wake();
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
        self.writer.take().into_iter().for_each(Waker::wake);
    }

    fn arrival(&mut self) -> Instant {
        let arrives = Instant::now() + self.latency.draw(&mut self.random);
        self.last = self.last.max(arrives);
        self.last
    }

    fn write(&mut self, bytes: &[u8]) {
        let arrives = self.arrival();
        self.bytes += bytes.len();
        self.pieces.push_back(Piece {
            arrives,
            bytes: bytes.to_vec(),
            read: 0,
        });
        let (from, to) = &self.direction;
        let length = bytes.len();
        self.trace.note(format_args!("sent {from} {to} {length}"));
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn finish(&mut self) {
        if self.end.is_none() && self.stage == Stage::Open {
            self.end = Some(self.arrival());
            self.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// What can be read now, or since when; nothing is a matter of waiting.
    fn read(&mut self, into: &mut ReadBuf<'_>) -> Readable {
        match self.stage {
            Stage::Reset => return Readable::Reset,
            Stage::Silent => return Readable::Waits,
            Stage::Open => {},
        }
        if self.is_cut {
            return Readable::Waits;
        }
        let now = Instant::now();
        let mut read = 0;
        while let Some(piece) = self.pieces.front_mut()
            && piece.arrives <= now
            && into.remaining() > 0
        {
            let rest = &piece.bytes[piece.read..];
            let length = rest.len().min(into.remaining());
            into.put_slice(&rest[..length]);
            piece.read += length;
            read += length;
            if piece.read == piece.bytes.len() {
                self.pieces.pop_front();
            }
        }
        self.bytes -= read;
        if read > 0 {
            self.writer.take().into_iter().for_each(Waker::wake);
            return Readable::Now;
        }
        match (self.pieces.front(), self.end) {
            (Some(piece), _) => Readable::At(piece.arrives),
            (None, Some(end)) if end <= now => Readable::Now,
            (None, Some(end)) => Readable::At(end),
            (None, None) => Readable::Waits,
        }
    }
}

enum Readable {
    /// It was read, or the end was reached.
    Now,
    At(Instant),
    Waits,
    Reset,
}

pub(super) fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a connection.
#[derive(Debug)]
pub struct Stream {
    from: Arc<Mutex<Pipe>>,
    to: Arc<Mutex<Pipe>>,
    arrival: Pin<Box<Sleep>>,
}

impl Stream {
    pub(super) fn new(from: Arc<Mutex<Pipe>>, to: Arc<Mutex<Pipe>>) -> Self {
        Self {
            from,
            to,
            arrival: Box::pin(sleep_until(Instant::now())),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let mut pipe = lock(&this.from);
            let at = match pipe.read(into) {
                Readable::Now => return Poll::Ready(Ok(())),
                Readable::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Readable::At(at) => Some(at),
                Readable::Waits => None,
            };
            pipe.reader = Some(context.waker().clone());
            drop(pipe);
            let Some(at) = at else {
                return Poll::Pending;
            };
            if this.arrival.deadline() != at {
                this.arrival.as_mut().reset(at);
            }
            if this.arrival.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.to);
        match pipe.stage {
            Stage::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Stage::Silent => return Poll::Ready(Ok(bytes.len())),
            Stage::Open if pipe.reader_gone => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            },
            Stage::Open => {},
        }
        let room = WINDOW_BYTES.saturating_sub(pipe.bytes);
        if room == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let length = room.min(bytes.len());
        pipe.write(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.to).finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.to).finish();
        let mut from = lock(&self.from);
        from.reader_gone = true;
        from.writer.take().into_iter().for_each(Waker::wake);
    }
}
