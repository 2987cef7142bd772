//! Watching the protected node from outside, through the same API that operators have.
//!
//! Prevents a drill that asks the thing under test how well it did: what the node says is used for
//! the time to detect and for attempts only, and carries the time at which it arrived here.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::arm::status;
use crate::client::get;
use crate::clock::Clock;
use crate::detection::{EndpointState, Heard, Look, Watched};

/// Between two looks at the node's status.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Before the stream of events is opened again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Longest line of the stream that is read.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Events that are kept; a node that says more than this in a minute is not heard to the end.
const HEARD_MAX: usize = 100_000;

/// Watches the node at `admin` until `done`.
pub(crate) async fn watch(
    admin: SocketAddr,
    clock: Clock,
    watched: &Mutex<Watched>,
    done: &CancellationToken,
) {
    let watching = async {
        tokio::join!(
            look(admin, clock, watched, done),
            listen(admin, clock, watched, done)
        )
    };
    done.run_until_cancelled(watching).await;
}

/// Looks at the status again and again. A look that fails is no look, and one that shows what the
/// last one showed adds nothing: the node takes a snapshot once a second.
async fn look(admin: SocketAddr, clock: Clock, watched: &Mutex<Watched>, done: &CancellationToken) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut taken_ms = None;
    while !done.is_cancelled() {
        every.tick().await;
        let Ok(status) = status(admin).await else {
            continue;
        };
        if taken_ms.replace(status.uptime_ms) == Some(status.uptime_ms) {
            continue;
        }
        let state = |endpoint: crate::arm::EndpointStatus| EndpointState {
            in_rotation: endpoint.in_rotation(),
            attempts: endpoint.attempts,
            name: endpoint.name,
        };
        let look = Look {
            at_ms: clock.now_ms(),
            endpoints: status.endpoints.into_iter().map(state).collect(),
        };
        lock(watched).looks.push(look);
    }
}

/// Follows the stream of events, and opens it again when it ends.
async fn listen(
    admin: SocketAddr,
    clock: Clock,
    watched: &Mutex<Watched>,
    done: &CancellationToken,
) {
    while !done.is_cancelled() {
        // Why it ended does not matter: a node that cannot be heard cannot show that it knew.
        follow(admin, clock, watched).await.ok();
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn follow(admin: SocketAddr, clock: Clock, watched: &Mutex<Watched>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, wire) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = get("/api/v1/stream");
    let host = http::HeaderValue::from_str(&admin.to_string())?;
    request.headers_mut().insert(http::header::HOST, host);
    let reading = async {
        let mut body = sender.send_request(request).await?.into_body();
        let mut lines = Lines::default();
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let at_ms = clock.now_ms();
            lines.take(data, |line| hear(line, at_ms, watched));
        }
        anyhow::Ok(())
    };
    tokio::select! {
        read = reading => read,
        ended = wire => Ok(ended?),
    }
}

fn hear(line: &str, at_ms: u64, watched: &Mutex<Watched>) {
    let heard = line
        .strip_prefix("data:")
        .and_then(|data| parse(data, at_ms));
    let Some(heard) = heard else {
        return;
    };
    let mut watched = lock(watched);
    if watched.heard.len() < HEARD_MAX {
        watched.heard.push(heard);
    }
}

/// An event that names an endpoint or a replica; heartbeats and the like are not kept.
fn parse(data: &str, at_ms: u64) -> Option<Heard> {
    let record: Value = serde_json::from_str(data).ok()?;
    let event = record.get("event")?.as_str()?;
    let subject = record.get("endpoint").or_else(|| record.get("replica"))?;
    Some(Heard {
        at_ms,
        event: event.to_owned(),
        subject: subject.as_str()?.to_owned(),
    })
}

/// Puts lines together from the pieces in which they arrive.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, data: &[u8], mut hear: impl FnMut(&str)) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            if self.0.len() + piece.len() > LINE_BYTES_MAX {
                self.0.clear();
                continue;
            }
            self.0.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                hear(String::from_utf8_lossy(&self.0).trim_end());
                self.0.clear();
            }
        }
    }
}

fn lock(watched: &Mutex<Watched>) -> std::sync::MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_heard_however_the_stream_is_cut() {
        let stream = "id: 1\nevent: record\ndata: {\"event\":\"circuit_open\",\"service\":\"payment\",\
                      \"endpoint\":\"payment-2\"}\n\n: ping\n\nevent: record\ndata: {\"event\":\
                      \"heartbeat\",\"node_id\":\"n1\"}\n\ndata: {\"event\":\"replica_exited\",\
                      \"replica\":\"payment-1\"}\r\n\r\n";
        for cut in 1..stream.len() {
            let watched = Mutex::default();
            let mut lines = Lines::default();
            for piece in stream.as_bytes().chunks(cut) {
                lines.take(piece, |line| hear(line, 7, &watched));
            }
            let heard: Vec<_> = lock(&watched)
                .heard
                .iter()
                .map(|heard| (heard.event.clone(), heard.subject.clone()))
                .collect();
            let expected = [
                ("circuit_open", "payment-2"),
                ("replica_exited", "payment-1"),
            ]
            .map(|(event, subject)| (event.to_owned(), subject.to_owned()));
            assert_eq!(heard, expected, "cut into {cut}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_grow_memory() {
        let mut lines = Lines::default();
        for _ in 0..1_000 {
            lines.take(&[b'x'; 1_000], |_| {});
        }
        assert!(lines.0.len() <= LINE_BYTES_MAX);
    }
}
