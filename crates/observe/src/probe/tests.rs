//! Claims about probes, against sockets that answer in every way a service can.

use std::num::NonZeroU32;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::*;

fn probe(http_path: Option<&str>, timeout: Duration) -> Probe {
    Probe {
        http_path: http_path.map(Arc::from),
        every: Duration::from_secs(1),
        timeout,
        hysteresis: Hysteresis {
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
        },
    }
}

const PATIENT: Duration = Duration::from_secs(30);
const IMPATIENT: Duration = Duration::from_millis(50);

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Asks a service that says `answer` after it read a request's head, and then stays open if
/// `open`; returns what it was asked too.
async fn ask(answer: &[u8], open: Option<()>, timeout: Duration) -> (Checked, String) {
    let (listener, address) = listen().await;
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a probe connects");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        // The probe may hang up in the middle: that is its right.
        drop(stream.write_all(answer).await);
        (
            String::from_utf8(head).expect("ASCII"),
            open.map(|()| stream),
        )
    };
    let probe = probe(Some("/healthz"), timeout);
    let (checked, (head, _stream)) = tokio::join!(probe.check(address), serve);
    (checked, head)
}

#[tokio::test]
async fn an_answer_of_200_to_399_is_well_and_any_other_is_not() {
    for (status, expected) in [
        (200, Ok(())),
        (204, Ok(())),
        (301, Ok(())),
        (399, Ok(())),
        (400, Err(Reason::Status)),
        (404, Err(Reason::Status)),
        (500, Err(Reason::Status)),
        (503, Err(Reason::Status)),
    ] {
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        let (checked, _) = ask(answer.as_bytes(), None, PATIENT).await;
        assert_eq!(checked.result, expected, "{status}");
        let words = format!("{status} in ");
        assert!(checked.detail.starts_with(&words), "{}", checked.detail);
        assert!(checked.detail.ends_with(" ms"), "{}", checked.detail);
    }
}

#[tokio::test]
async fn the_request_says_who_asks_and_that_the_connection_ends() {
    let (_, head) = ask(b"HTTP/1.1 204 x\r\n\r\n", None, PATIENT).await;
    assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: 127.0.0.1:"), "{head}");
    assert!(
        head.contains("\r\nuser-agent: mainstay-probe\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
}

#[tokio::test]
async fn an_answer_without_end_is_well_once_enough_of_it_was_read() {
    let mut answer = b"HTTP/1.1 200 x\r\n\r\n".to_vec();
    answer.resize(BODY_BYTES_MAX * 2, b'x');
    let (checked, _) = ask(&answer, Some(()), PATIENT).await;
    assert_eq!(checked.result, Ok(()));
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_not_well() {
    let half = b"HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\nhalf";
    let (closed, _) = ask(half, None, PATIENT).await;
    assert_eq!(closed.result, Err(Reason::Reset), "{}", closed.detail);
    let (hung, _) = ask(half, Some(()), IMPATIENT).await;
    assert_eq!(hung.result, Err(Reason::Timeout));
    assert_eq!(hung.detail, "no answer within 50 ms");
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_failure() {
    let (checked, _) = ask(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", None, PATIENT).await;
    assert_eq!(checked.result, Err(Reason::Protocol), "{}", checked.detail);
    let mut endless = b"HTTP/1.1 200 x\r\nx: ".to_vec();
    endless.resize(4 * HEAD_BYTES_MAX, b'x');
    let (checked, _) = ask(&endless, Some(()), PATIENT).await;
    assert_eq!(checked.result, Err(Reason::Protocol), "{}", checked.detail);
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let (listener, address) = listen().await;
    let checked = probe(Some("/"), IMPATIENT).check(address).await;
    drop(listener);
    assert_eq!(checked.result, Err(Reason::Timeout));
}

#[tokio::test]
async fn a_closed_port_is_refused_for_both_kinds_of_probe() {
    // Bound, so that nobody else can get the port, but not listening.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("loopback");
    let address = socket.local_addr().expect("bound");
    for path in [None, Some("/healthz")] {
        let checked = probe(path, PATIENT).check(address).await;
        assert_eq!(checked.result, Err(Reason::Connect));
        assert_eq!(checked.detail, "connection refused");
    }
}

#[tokio::test]
async fn a_listening_port_is_well_when_only_a_connection_is_asked_for() {
    let (_listener, address) = listen().await;
    let checked = probe(None, PATIENT).check(address).await;
    assert_eq!(checked.result, Ok(()));
    assert!(
        checked.detail.starts_with("connected in "),
        "{}",
        checked.detail
    );
}

#[tokio::test]
async fn a_path_that_cannot_be_asked_for_is_a_failure_and_not_a_panic() {
    let (_listener, address) = listen().await;
    let checked = probe(Some("no path\n"), PATIENT).check(address).await;
    assert_eq!(checked.result, Err(Reason::Error));
}

#[test]
fn limits_are_written_as_a_person_would() {
    assert_eq!(limit(Duration::from_secs(1)), "1 s");
    assert_eq!(limit(Duration::from_millis(1_500)), "1500 ms");
}
