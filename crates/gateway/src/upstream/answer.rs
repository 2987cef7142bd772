//! The head of an endpoint's answer: parsed strictly, without the fields of the last hop.
//!
//! Prevents response splitting and poisoned connections: an answer whose length two readers could
//! read differently is a failure of the endpoint and ends the connection.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header};
use httparse::{Header, Response, Status};

use crate::forward::{HopByHop, list_contains};
use crate::framing::head::decimal;

/// Header fields of an answer.
const HEADERS_MAX: usize = 128;
/// A body up to this size that came with its head is handed on at once.
const FULL_BYTES_MAX: usize = 32 * 1_024;

/// How an answer's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// By its length.
    Length(u64),
    /// By the chunked coding.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// An answer's head.
#[derive(Debug)]
pub(crate) struct Head {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its fields, without those of the hop.
    pub(crate) headers: HeaderMap,
    /// How the body follows.
    pub(crate) framing: Framing,
    /// The whole body, where it was there already.
    pub(crate) full: Option<Bytes>,
    /// Whether the endpoint keeps the connection open.
    pub(crate) keep_alive: bool,
}

/// What was found in the bytes read.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Not all of a head.
    Partial,
    /// An interim answer.
    Interim {
        /// Its bytes.
        length: usize,
        /// Whether the body may be sent now.
        leave: bool,
    },
    /// The final answer.
    Final {
        /// Its head.
        head: Head,
        /// Its bytes, with those of a full body.
        length: usize,
    },
}

/// The bytes are not an answer, or one with two meanings.
#[derive(Debug)]
pub(crate) struct Invalid;

/// Parses the front of `bytes`; `to_head` for the answer to a HEAD request.
pub(crate) fn parse(bytes: &[u8], to_head: bool) -> Result<Parsed, Invalid> {
    let mut slots = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut response = Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut slots,
    );
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(Parsed::Partial),
        Err(_) => return Err(Invalid),
    };
    let code = response.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|_| Invalid)?;
    if status.is_informational() {
        // Nobody asked to switch protocols.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Invalid);
        }
        let leave = status == StatusCode::CONTINUE;
        return Ok(Parsed::Interim { length, leave });
    }
    let fields = Fields::collect(response.headers)?;
    let modern = response.version == Some(1);
    let bodiless =
        to_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let framing = fields.framing(bodiless, response.version)?;
    let keep_alive = modern && !fields.close && framing != Framing::Close;

    let body = full_length(framing, bytes.len() - length);
    let shared = Bytes::copy_from_slice(&bytes[..length + body.unwrap_or_default()]);
    let headers = fields.headers(response.headers, bytes, &shared, framing)?;
    let head = Head {
        status,
        headers,
        framing,
        full: body.map(|_| shared.slice(length..)),
        keep_alive,
    };
    Ok(Parsed::Final {
        head,
        length: length + body.unwrap_or_default(),
    })
}

/// The body's length, if all of it is among the `there` bytes behind the head.
fn full_length(framing: Framing, there: usize) -> Option<usize> {
    let Framing::Length(length) = framing else {
        return None;
    };
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= there && *length <= FULL_BYTES_MAX)
}

/// What the fields say about framing and hop.
struct Fields<'a> {
    length: Option<u64>,
    coding: Option<&'a [u8]>,
    close: bool,
    hop: HopByHop<'a>,
}

impl<'a> Fields<'a> {
    fn collect(headers: &[Header<'a>]) -> Result<Self, Invalid> {
        let mut fields = Self {
            length: None,
            coding: None,
            close: false,
            hop: HopByHop::default(),
        };
        for header in headers {
            fields.take(header)?;
        }
        Ok(fields)
    }

    fn take(&mut self, header: &Header<'a>) -> Result<(), Invalid> {
        match header.name.len() {
            10 if header.name.eq_ignore_ascii_case("connection") => {
                self.close |= list_contains(header.value, b"close");
                self.hop.name(header.value);
            },
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                let length = decimal(header.value).ok_or(Invalid)?;
                // The same length twice is no ambiguity; servers behind servers do it.
                if self
                    .length
                    .replace(length)
                    .is_some_and(|first| first != length)
                {
                    return Err(Invalid);
                }
            },
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                let first = self.coding.replace(header.value);
                return first.map_or(Ok(()), |_| Err(Invalid));
            },
            _ => {},
        }
        Ok(())
    }

    fn framing(&self, bodiless: bool, version: Option<u8>) -> Result<Framing, Invalid> {
        if self.coding.is_some() && (self.length.is_some() || version != Some(1)) {
            return Err(Invalid);
        }
        if bodiless {
            return Ok(Framing::Empty);
        }
        match (self.coding, self.length) {
            (Some(coding), _) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Some(_), _) => Err(Invalid),
            (None, Some(0)) => Ok(Framing::Empty),
            (None, Some(length)) => Ok(Framing::Length(length)),
            (None, None) => Ok(Framing::Close),
        }
    }

    /// The fields for the client; the values share the memory of `shared`, which starts with the
    /// bytes that `from` starts with.
    fn headers(
        &self,
        parsed: &[Header<'_>],
        from: &[u8],
        shared: &Bytes,
        framing: Framing,
    ) -> Result<HeaderMap, Invalid> {
        let mut headers = HeaderMap::with_capacity(parsed.len());
        for field in parsed {
            if self.hop.includes(field.name) {
                continue;
            }
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Invalid)?;
            // hyper writes the length of a body by itself; without a body it is only told.
            if name == header::CONTENT_LENGTH && framing != Framing::Empty {
                continue;
            }
            let start = field.value.as_ptr() as usize - from.as_ptr() as usize;
            let value = shared.slice(start..start + field.value.len());
            let value = HeaderValue::from_maybe_shared(value).map_err(|_| Invalid)?;
            headers.append(name, value);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str, to_head: bool) -> Option<Head> {
        match parse(text.as_bytes(), to_head) {
            Ok(Parsed::Final { head, .. }) => Some(head),
            Ok(_) | Err(_) => None,
        }
    }

    #[test]
    fn a_body_that_is_there_comes_with_its_head() {
        let head = head(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nokHTTP",
            false,
        )
        .expect("the answer is valid");
        assert_eq!(head.full.as_deref(), Some(&b"ok"[..]));
        assert_eq!(head.headers["x-a"], "b");
        assert!(head.keep_alive);
    }

    #[test]
    fn fields_of_the_hop_do_not_reach_the_client() {
        let head = head(
            "HTTP/1.1 200 OK\r\nConnection: x-b, close\r\nX-B: 1\r\nKeep-Alive: timeout=5\r\n\
             Upgrade: h2c\r\nTransfer-Encoding: chunked\r\nX-C: 2\r\n\r\n",
            false,
        )
        .expect("the answer is valid");
        assert_eq!(head.headers.len(), 1);
        assert_eq!(head.headers["x-c"], "2");
        assert!(!head.keep_alive);
    }

    #[test]
    fn answers_with_two_meanings_are_invalid() {
        for fields in [
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "Content-Length: 2\r\nContent-Length: 3",
            "Content-Length: +2",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
            assert!(parse(text.as_bytes(), false).is_err(), "{fields:?}");
        }
        assert!(parse(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", false).is_err());
        assert!(parse(b"SSH-2.0-OpenSSH\r\n", false).is_err());
    }

    #[test]
    fn answers_to_head_and_bodiless_statuses_have_no_body() {
        let framing = |text: &str, to_head| head(text, to_head).map(|head| head.framing);
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(framing(ok, true), Some(Framing::Empty));
        assert_eq!(framing(ok, false), Some(Framing::Length(9)));
        let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(framing(unchanged, false), Some(Framing::Empty));
        assert_eq!(
            framing("HTTP/1.0 200 OK\r\n\r\n", false),
            Some(Framing::Close)
        );
    }
}
