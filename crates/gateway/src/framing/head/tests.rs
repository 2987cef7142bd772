//! What passes, and what each refusal is.

use super::*;

fn status(head: &str) -> u16 {
    judge(head.as_bytes(), 100).map_or_else(|refusal| refusal.status().as_u16(), |_| 200)
}

#[test]
fn plain_heads_pass_with_their_framing() {
    let framing = |head: &str| judge(head.as_bytes(), 100).expect("the head is plain");
    assert_eq!(
        framing("GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n"),
        BodyFraming::Length(0)
    );
    assert_eq!(
        framing("POST / HTTP/1.1\r\nHost: a:1\r\nContent-Length: 12\r\n\r\n"),
        BodyFraming::Length(12)
    );
    assert_eq!(
        framing("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"),
        BodyFraming::Chunked
    );
    assert_eq!(framing("GET / HTTP/1.0\r\n\r\n"), BodyFraming::Length(0));
    assert_eq!(
        framing("GET http://a/x HTTP/1.1\r\nHost: A\r\n\r\n"),
        BodyFraming::Length(0)
    );
    assert_eq!(
        framing("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        BodyFraming::Length(0)
    );
}

#[test]
fn heads_that_two_readers_could_read_differently_are_refused() {
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding:",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5,5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "X: a\r\n folded",
        "X: a\0b",
        "X: a\rb",
        "X\0: a",
        "X y: a",
        ": a",
        "Host: b",
    ] {
        assert_eq!(status(&post(fields)), 400, "{fields:?}");
    }
}

#[test]
fn targets_and_hosts_must_agree_and_be_plain() {
    for (head, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /# HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        ("GET /\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            501,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: cookies\r\n\r\n", 417),
    ] {
        assert_eq!(status(head), expected, "{head:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000));
    assert_eq!(status(&long), 414);
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "x: y\r\n".repeat(100)
    );
    assert_eq!(status(&many), 431);
}
