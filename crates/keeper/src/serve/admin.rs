//! The page for operators: commands as JSON, metrics, probes.
//!
//! Prevents tooling that has to be written anew: paths and fields are those of ZooKeeper's
//! `AdminServer`. It reads and resets counts; nothing here changes data, and nobody is asked who
//! they are, so it belongs on a network of operators.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use super::ACCEPT_RETRY;
use super::desk::Desk;
use crate::replica::Replica;

mod command;
mod ensemble;
mod metrics;

pub(super) use ensemble::quorum_size;
pub use metrics::METRICS;

/// Open connections; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;
/// A request's head must be complete in this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long one connection may last: who scrapes comes again.
const LIFE_MAX: Duration = Duration::from_mins(2);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// Serves operators who come to `listener`.
pub(super) async fn serve<R: Replica>(
    desk: &Arc<Desk>,
    replica: &Arc<R>,
    listener: TcpListener,
) -> Infallible {
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            // Nobody closes it.
            return std::future::pending().await;
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (desk, replica) = (Arc::clone(desk), Arc::clone(replica));
                    connections.spawn(async move {
                        drop(timeout(LIFE_MAX, attend(&desk, &replica, stream)).await);
                        drop(place);
                    });
                },
                Err(_) => sleep(ACCEPT_RETRY).await,
            },
            Some(_) = connections.join_next() => {},
        }
    }
}

async fn attend<R: Replica>(desk: &Arc<Desk>, replica: &Arc<R>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let answered = answer(desk, &**replica, &request);
        std::future::ready(Ok::<_, Infallible>(answered))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Who hangs up has what they wanted.
    drop(served.await);
}

fn answer<R: Replica, B>(desk: &Desk, replica: &R, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let text = "only GET is answered here\n";
        return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
    }
    let query = request.uri().query().unwrap_or_default();
    let has_quorum = replica.standing().leader.is_some();
    match request.uri().path().trim_end_matches('/') {
        "/livez" => respond(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" if has_quorum => respond(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => {
            let text = "this member knows no leader\n";
            respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
        },
        "/metrics" => respond(StatusCode::OK, PROMETHEUS, metrics::text(desk, replica)),
        "/commands" => respond(StatusCode::OK, HTML, command::list()),
        path => match path.strip_prefix("/commands/") {
            Some(name) => {
                let said = command::answer(desk, replica, name, query);
                respond(StatusCode::OK, JSON, said)
            },
            None => respond(StatusCode::NOT_FOUND, TEXT, "see /commands and /metrics\n"),
        },
    }
}

fn respond(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
