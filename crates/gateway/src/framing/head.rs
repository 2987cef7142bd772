//! Whether a request's head says exactly one thing, and how its body is framed.
//!
//! Prevents request smuggling: where two readers could disagree on a head (RFC 9112 §11.2), it is
//! refused. What passes here, hyper, the endpoint and every proxy in between read alike.

use std::mem::MaybeUninit;

use http::StatusCode;
use httparse::{Error, Header, Request, Status};

use crate::reply::Refusal;

/// Header fields that a configuration can allow at most.
pub(crate) const HEADERS_CAP: usize = 256;
/// Bytes of a request's target; what common servers take.
const TARGET_BYTES_MAX: usize = 16 * 1_024;

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// By its length, 0 for none.
    Length(u64),
    /// By the chunked coding.
    Chunked,
}

/// What the fields say that matter for framing and routing.
#[derive(Default)]
struct Fields<'a> {
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
}

/// Judges one complete head, the empty line at its end included.
pub(crate) fn judge(head: &[u8], headers_max: usize) -> Result<BodyFraming, Refusal> {
    let mut slots = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_CAP];
    let slots = &mut slots[..headers_max.min(HEADERS_CAP)];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(head, slots) {
        Ok(Status::Complete(length)) if length == head.len() => {},
        Ok(_) => return Err(Refusal::bad_request("the head has no clear end")),
        Err(error) => return Err(parse_refusal(head, error)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Refusal::bad_request("the request line is incomplete"));
    };
    let fields = collect(request.headers)?;
    check_host(fields.host, minor)?;
    check_target(method, target.as_bytes(), fields.host)?;
    body_framing(&fields, minor)
}

fn parse_refusal(head: &[u8], error: Error) -> Refusal {
    match error {
        Error::TooManyHeaders => Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too_many_headers",
            "the request has more header fields than allowed",
        ),
        Error::Version if names_http(head) => Refusal::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "version",
            "the version is not HTTP/1.0 or HTTP/1.1",
        ),
        Error::Version | Error::Status | Error::Token => {
            Refusal::bad_request("the request line or a field name has a forbidden byte")
        },
        Error::HeaderName => Refusal::bad_request("a field name has a forbidden byte"),
        Error::HeaderValue => Refusal::bad_request("a field value has a forbidden byte"),
        Error::NewLine => Refusal::bad_request("a line does not end in CR LF"),
    }
}

/// Whether the request line ends in something like `HTTP/2.0`.
fn names_http(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let version = words.nth(2).unwrap_or_default();
    let is_last = words.next().is_none();
    is_last
        && matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn collect<'a>(headers: &[Header<'a>]) -> Result<Fields<'a>, Refusal> {
    let mut fields = Fields::default();
    for header in headers {
        // The length tells most fields apart without comparing bytes.
        let (slot, twice) = match header.name.len() {
            4 if header.name.eq_ignore_ascii_case("host") => {
                (&mut fields.host, "more than one host field")
            },
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                (&mut fields.length, "more than one content-length field")
            },
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                (&mut fields.coding, "more than one transfer-encoding field")
            },
            6 if header.name.eq_ignore_ascii_case("expect") => {
                check_expect(header.value)?;
                continue;
            },
            _ => continue,
        };
        if slot.replace(header.value).is_some() {
            return Err(Refusal::bad_request(twice));
        }
    }
    Ok(fields)
}

fn check_expect(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"100-continue") {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::EXPECTATION_FAILED,
        "expectation",
        "only 100-continue can be expected",
    ))
}

fn check_host(host: Option<&[u8]>, minor: u8) -> Result<(), Refusal> {
    match host {
        None if minor == 0 => Ok(()),
        None => Err(Refusal::bad_request("the host field is missing")),
        Some(host) if host.iter().all(|byte| is_authority(*byte)) => Ok(()),
        Some(_) => Err(Refusal::bad_request("the host field is not an authority")),
    }
}

/// Bytes of `host[:port]`; a user's name has no place in one.
const fn is_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'['
                | b']'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

fn check_target(method: &str, target: &[u8], host: Option<&[u8]>) -> Result<(), Refusal> {
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::uri_too_long());
    }
    if method == "CONNECT" {
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the gateway opens no tunnels",
        ));
    }
    let path = match target {
        [b'/', ..] => target,
        b"*" if method == "OPTIONS" => return Ok(()),
        _ => absolute_path(target, host)?,
    };
    let (path, query) = match path.iter().position(|byte| *byte == b'?') {
        Some(at) => path.split_at(at),
        None => (path, &[][..]),
    };
    if path.iter().all(|byte| is_path(*byte)) && query.iter().all(|byte| is_query(*byte)) {
        return Ok(());
    }
    Err(Refusal::bad_request("the target has a forbidden byte"))
}

/// The path of `http://authority/path`, whose authority must be the host field's.
fn absolute_path<'a>(target: &'a [u8], host: Option<&[u8]>) -> Result<&'a [u8], Refusal> {
    const SCHEME: &[u8] = b"http://";
    let is_http = target
        .get(..SCHEME.len())
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    if !is_http {
        return Err(Refusal::bad_request("the target is not a path"));
    }
    let rest = &target[SCHEME.len()..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let valid = !authority.is_empty() && authority.iter().all(|byte| is_authority(*byte));
    if !valid || host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
        return Err(Refusal::bad_request(
            "the target's authority is not the host field's",
        ));
    }
    Ok(path)
}

/// Bytes that every parser on the way takes in a path: RFC 3986 and what browsers leave bare.
const fn is_path(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x40..=0x5f | 0x61..=0x7a | 0x7c | 0x7e)
}

/// The same for a query.
const fn is_query(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x3f..=0x7e)
}

fn body_framing(fields: &Fields<'_>, minor: u8) -> Result<BodyFraming, Refusal> {
    match (fields.length, fields.coding) {
        (None, None) => Ok(BodyFraming::Length(0)),
        (Some(_), Some(_)) => Err(Refusal::bad_request(
            "both content-length and transfer-encoding",
        )),
        (Some(length), None) => decimal(length)
            .map(BodyFraming::Length)
            .ok_or(Refusal::bad_request("content-length is not one number")),
        (None, Some(_)) if minor == 0 => Err(Refusal::bad_request("transfer-encoding in HTTP/1.0")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(BodyFraming::Chunked),
        (None, Some(coding)) => Err(coding_refusal(coding)),
    }
}

/// 501 for codings that exist and are not ours, 400 for what nobody defined.
fn coding_refusal(coding: &[u8]) -> Refusal {
    const REGISTERED: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
    let mut codings: Vec<&[u8]> = coding
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .collect();
    let last = codings.pop().unwrap_or_default();
    let known = |name: &&[u8]| {
        REGISTERED
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    if last.eq_ignore_ascii_case(b"chunked") && !codings.is_empty() && codings.iter().all(known) {
        return Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "transfer_coding",
            "the only transfer coding here is chunked",
        );
    }
    Refusal::bad_request("transfer-encoding is not chunked")
}

/// Digits and nothing else, as `u64`.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests;
