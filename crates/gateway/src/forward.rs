//! Which header fields travel on, and which the gateway writes itself.
//!
//! Prevents fields of one hop from reaching the next, a chain of proxies that hides the client,
//! and a request that goes round for ever. Fields of the hop are those of RFC 9110 §7.6.1 and
//! those that Connection names, in both directions. The host field is kept as it came.
//!
//! `Upgrade` is a field of the hop: it is left out, so that the endpoint answers as if the client
//! had not asked (RFC 9110 §7.8 allows that). Tunnels are not supported.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, VIA,
};
use http::request::Parts;
use http::uri::PathAndQuery;

/// The fields of one hop in one message.
#[derive(Default)]
pub(crate) struct HopByHop<'a> {
    /// What Connection fields say; most messages have at most one.
    named: [Option<&'a [u8]>; 2],
    more: Vec<&'a [u8]>,
}

impl<'a> HopByHop<'a> {
    /// Takes the value of one Connection field.
    pub(crate) fn name(&mut self, value: &'a [u8]) {
        // The usual values name nothing else.
        if value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close") {
            return;
        }
        match self.named.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(value),
            None => self.more.push(value),
        }
    }

    /// Whether the field `name` belongs to the hop.
    pub(crate) fn includes(&self, name: &str) -> bool {
        is_hop_by_hop(name) || (self.named[0].is_some() && self.is_named(name))
    }

    fn is_named(&self, name: &str) -> bool {
        let named = self.named.iter().flatten().chain(&self.more);
        // Whoever names these wants to hide them from the endpoint, not from the hop.
        !is_end_to_end(name)
            && named
                .into_iter()
                .any(|list| list_contains(list, name.as_bytes()))
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    let known = match name.len() {
        2 => "te",
        7 => "upgrade",
        10 if name.as_bytes()[0] | 0x20 == b'c' => "connection",
        10 => "keep-alive",
        16 => "proxy-connection",
        17 => "transfer-encoding",
        18 => "proxy-authenticate",
        19 => "proxy-authorization",
        _ => return false,
    };
    name.eq_ignore_ascii_case(known)
}

fn is_end_to_end(name: &str) -> bool {
    const KEPT: [&str; 6] = [
        "host",
        "content-length",
        "authorization",
        "cookie",
        "cache-control",
        "idempotency-key",
    ];
    KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
}

/// Whether the comma-separated `list` has `element`, in any case.
pub(crate) fn list_contains(list: &[u8], element: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(element))
}

/// Who the gateway is on the way of a request.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The pseudonym in Via, one per service: `mainstay-n1-payment`.
    pseudonym: String,
    /// The field that answers carry.
    pub(crate) via: HeaderValue,
}

impl Identity {
    /// The identity of `service` on `node`; bytes that a token cannot have become `_`.
    pub(crate) fn new(node: &str, service: &str) -> Self {
        let pseudonym: String = format!("mainstay-{node}-{service}")
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' || c == '.' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let via = HeaderValue::from_str(&format!("1.1 {pseudonym}"))
            .unwrap_or(HeaderValue::from_static("1.1 mainstay"));
        Self { pseudonym, via }
    }

    /// Whether the request has been here before.
    pub(crate) fn is_loop(&self, headers: &HeaderMap) -> bool {
        headers.get_all(VIA).iter().any(|value| {
            value.as_bytes().split(|byte| *byte == b',').any(|hop| {
                let mut words = hop.trim_ascii().split(|byte| *byte == b' ');
                words.nth(1) == Some(self.pseudonym.as_bytes())
            })
        })
    }
}

/// What the gateway adds to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Additions<'a> {
    /// Who we are.
    pub(crate) identity: &'a Identity,
    /// The client's address.
    pub(crate) client: &'a str,
    /// The host for clients that named none.
    pub(crate) host: &'a str,
    /// Which attempt this is, from 1.
    pub(crate) attempt: u32,
    /// Whether a body follows in chunks.
    pub(crate) chunked: bool,
}

/// Writes the head of the request for an endpoint.
pub(crate) fn write_head(out: &mut Vec<u8>, parts: &Parts, additions: &Additions<'_>) {
    let headers = &parts.headers;
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(
        parts
            .uri
            .path_and_query()
            .map_or("/", PathAndQuery::as_str)
            .as_bytes(),
    );
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = parts
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let host = host.or(authority).unwrap_or(additions.host.as_bytes());
    out.extend_from_slice(host);
    out.extend_from_slice(b"\r\n");

    let mut hop = HopByHop::default();
    for value in headers.get_all(CONNECTION) {
        hop.name(value.as_bytes());
    }
    let mut forwarded = Forwarded::default();
    for (name, value) in headers {
        if !forwarded.takes(name, value) && !hop.includes(name.as_str()) {
            write_field(out, name, value.as_bytes());
        }
    }
    if headers
        .get(TE)
        .is_some_and(|te| list_contains(te.as_bytes(), b"trailers"))
    {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    if additions.chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"x-forwarded-for: ");
    forwarded.write_chain(out);
    out.extend_from_slice(additions.client.as_bytes());
    out.extend_from_slice(b"\r\nx-forwarded-proto: http\r\nx-forwarded-host: ");
    out.extend_from_slice(host);
    out.extend_from_slice(b"\r\nvia: ");
    for via in headers.get_all(VIA) {
        out.extend_from_slice(via.as_bytes());
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(additions.identity.via.as_bytes());
    if additions.attempt > 1 {
        out.extend_from_slice(b"\r\nmainstay-attempt: ");
        out.extend_from_slice(additions.attempt.to_string().as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The fields that the gateway writes itself, taken out of the client's.
#[derive(Default)]
struct Forwarded<'a> {
    chain: Option<&'a HeaderValue>,
    more: Vec<&'a HeaderValue>,
}

impl<'a> Forwarded<'a> {
    /// Whether the gateway writes this field.
    fn takes(&mut self, name: &HeaderName, value: &'a HeaderValue) -> bool {
        if *name == HOST || *name == VIA {
            return true;
        }
        match name.as_str() {
            "x-forwarded-for" => match self.chain {
                None => self.chain = Some(value),
                Some(_) => self.more.push(value),
            },
            // What the client claims here is overwritten: an endpoint must be able to trust it.
            "x-forwarded-proto" | "x-forwarded-host" | "mainstay-attempt" => {},
            _ => return false,
        }
        true
    }

    fn write_chain(&self, out: &mut Vec<u8>) {
        for value in self.chain.iter().chain(&self.more) {
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b", ");
        }
    }
}

/// Whether the client waits for leave to send its body.
pub(crate) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

/// Whether the client announced its body's length.
pub(crate) fn has_length(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH)
}

/// Writes the size line of a chunk.
pub(crate) fn write_chunk_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let first = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..first).rev() {
        out.push(DIGITS[size >> (4 * place) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk and the trailers.
pub(crate) fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        write_field(out, name, value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(request: http::Request<()>) -> String {
        let identity = Identity::new("n1", "pay");
        let additions = Additions {
            identity: &identity,
            client: "192.0.2.7",
            host: "pay",
            attempt: 1,
            chunked: false,
        };
        let mut out = Vec::new();
        write_head(&mut out, &request.into_parts().0, &additions);
        String::from_utf8(out).expect("tests send text")
    }

    #[test]
    fn fields_of_the_hop_stay_behind_and_the_chain_grows() {
        let head = forwarded(
            http::Request::get("/a?b")
                .header("host", "shop:80")
                .header("connection", "keep-alive, x-secret, host")
                .header("x-secret", "1")
                .header("te", "trailers, deflate")
                .header("upgrade", "websocket")
                .header("keep-alive", "5")
                .header("x-forwarded-for", "198.51.100.1")
                .header("x-forwarded-proto", "https")
                .header("via", "1.0 front")
                .header("x-kept", "2")
                .body(())
                .expect("the request is valid"),
        );
        assert_eq!(
            head,
            "GET /a?b HTTP/1.1\r\nhost: shop:80\r\nx-kept: 2\r\nte: trailers\r\n\
             x-forwarded-for: 198.51.100.1, 192.0.2.7\r\nx-forwarded-proto: http\r\n\
             x-forwarded-host: shop:80\r\nvia: 1.0 front, 1.1 mainstay-n1-pay\r\n\r\n"
        );
    }

    #[test]
    fn a_request_that_was_here_is_a_loop_and_one_that_was_elsewhere_is_not() {
        let identity = Identity::new("n 1", "pay");
        let mut headers = HeaderMap::new();
        headers.append(
            VIA,
            HeaderValue::from_static("1.1 mainstay-n2-pay, 1.1 other"),
        );
        assert!(!identity.is_loop(&headers));
        headers.append(VIA, HeaderValue::from_static("1.1 a, 1.1 mainstay-n_1-pay"));
        assert!(identity.is_loop(&headers));
    }

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for size in [1, 9, 15, 16, 255, 256, 65_536, usize::MAX] {
            let mut out = Vec::new();
            write_chunk_size(&mut out, size);
            assert_eq!(String::from_utf8(out), Ok(format!("{size:x}\r\n")));
        }
    }
}
