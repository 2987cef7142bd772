//! The one body type of all answers: concrete, without dynamic dispatch. Only a body that streams
//! is behind a box, so that the small ones stay small.
//!
//! Prevents leaks of what a request holds: the bulkhead's place and the count in flight are given
//! back when the body is dropped, however that happens.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::finish::Finish;
use crate::upstream::stream::Stream;

/// The bytes of an answer.
#[derive(Debug)]
pub(crate) enum Content {
    /// None.
    Empty,
    /// All there.
    Full(Bytes),
    /// Still coming in.
    Stream(Box<Stream>),
}

/// An answer's body together with what ends with it.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    _finish: Finish,
}

impl Body {
    /// `content`, whose end lets go of `finish`.
    pub(crate) const fn new(content: Content, finish: Finish) -> Self {
        Self {
            content,
            _finish: finish,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let content = &mut self.get_mut().content;
        match content {
            Content::Empty => Poll::Ready(None),
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *content = Content::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            },
            Content::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(bytes) => bytes.is_empty(),
            Content::Stream(stream) => stream.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(stream) => stream
                .bytes_left()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
