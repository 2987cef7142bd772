//! One GET, to see that a subject answers before and after it is measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// For connecting, and for every read and write.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Far more than any answer that is asked for here.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// An error unless a GET of `path` is answered with 200 and exactly this body.
pub(super) fn expect(address: SocketAddr, path: &str, body: &str) -> Result<()> {
    let answer = get(address, path).with_context(|| format!("GET http://{address}{path}"))?;
    let (head, got) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of head")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.split(' ').nth(1) == Some("200"),
        "answered with {status}"
    );
    ensure!(got == body, "the body is {got:?} instead of {body:?}");
    Ok(())
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Addresses on loopback whose ports the system chose, all different.
///
/// They are free when this returns; whoever configures a program that cannot report its port has
/// to take that chance.
pub(super) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut held = Vec::new();
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        // All are held until the last one is known, so that none is given twice.
        held.push(listener);
    }
    drop(held);
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered_with(answer: &'static str) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let _request_bytes = stream.read(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("an answer");
        });
        let result = expect(address, "/", "right");
        server.join().expect("the server ends");
        result
    }

    #[test]
    fn the_right_answer_passes() {
        answered_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright").expect("all is right");
    }

    #[test]
    fn a_wrong_status_or_body_is_an_error() {
        let wrong = [
            "HTTP/1.1 503 No\r\n\r\nright",
            "HTTP/1.1 200 OK\r\n\r\nwrong",
            "",
        ];
        for answer in wrong {
            assert!(answered_with(answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn free_addresses_are_all_different() {
        let addresses = free_addresses::<8>().expect("loopback has ports");
        let ports: std::collections::BTreeSet<u16> =
            addresses.iter().map(SocketAddr::port).collect();
        assert_eq!(ports.len(), 8);
    }
}
