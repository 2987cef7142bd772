//! Asking an address whether the service behind it is well, by HTTP or by connecting.
//!
//! Prevents guessing: gateway and supervisor ask in the same way, so that they cannot disagree on
//! what an answer means. Kubernetes' rule: 200 to 399 is well, all else is not. A probe never
//! takes longer than its timeout and never keeps more than a bounded piece of the answer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mainstay_core::health::Hysteresis;
use mainstay_core::outcome::Reason;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes of a body that are read, as in Kubernetes; the rest cannot change the verdict.
const BODY_BYTES_MAX: usize = 10 * 1024;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How to ask.
#[derive(Clone, Debug)]
pub struct Probe {
    /// `Some("/healthz")` asks by HTTP; `None` only connects.
    pub http_path: Option<Arc<str>>,
    /// Time between probes; whoever loops adds a tenth of jitter.
    pub every: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Probes in a row that change the verdict.
    pub hysteresis: Hysteresis,
}

/// What one probe found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// `Ok` when the service is well, else why not.
    pub result: Result<(), Reason>,
    /// The result in words, for instance `200 in 1.2 ms` or `connection refused`.
    pub detail: String,
}

impl Checked {
    fn failed(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            result: Err(reason),
            detail: detail.into(),
        }
    }
}

impl Probe {
    /// Asks once, over a connection of its own. Takes at most [`Probe::timeout`]; reads a bounded
    /// answer. Safe to drop at any point; starts no task, so any tokio runtime will do.
    pub async fn check(&self, address: SocketAddr) -> Checked {
        let start = Instant::now();
        let ask = async {
            let stream = connect(address).await?;
            match self.http_path.as_deref() {
                Some(path) => get(stream, address, path).await.map(Some),
                None => Ok(None),
            }
        };
        match tokio::time::timeout(self.timeout, ask).await {
            Ok(Ok(Some(status))) => judge(status, start.elapsed()),
            Ok(Ok(None)) => Checked {
                result: Ok(()),
                detail: format!("connected in {}", millis(start.elapsed())),
            },
            Ok(Err(checked)) => checked,
            Err(_) => {
                let detail = format!("no answer within {}", limit(self.timeout));
                Checked::failed(Reason::Timeout, detail)
            },
        }
    }
}

fn judge(status: StatusCode, took: Duration) -> Checked {
    let well = status.is_success() || status.is_redirection();
    Checked {
        result: if well { Ok(()) } else { Err(Reason::Status) },
        detail: format!("{} in {}", status.as_u16(), millis(took)),
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Checked> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| not_connected(&error))?;
    // On loopback the kernel may choose the very port that is asked as the source port; TCP then
    // connects the socket to itself, and a dead service would look alive.
    let own = stream.local_addr().map_err(|error| not_connected(&error))?;
    if own == address {
        return Err(not_connected(&io::ErrorKind::ConnectionRefused.into()));
    }
    Ok(stream)
}

fn not_connected(error: &io::Error) -> Checked {
    // "Connection refused (os error 111)" in the words of a sentence.
    let words = error.to_string().to_lowercase();
    let detail = words.split(" (os error").next().unwrap_or(&words);
    Checked::failed(Reason::Connect, detail)
}

async fn get(stream: TcpStream, address: SocketAddr, path: &str) -> Result<StatusCode, Checked> {
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "mainstay-probe")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Checked::failed(Reason::Error, format!("{path:?} is not a path")))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        skim(response.into_body()).await?;
        Ok(status)
    };
    drive(exchange, connection)
        .await
        .map_err(|error: hyper::Error| broken(&error))
}

/// Reads a body as far as it matters: a service that hangs in the middle of its answer is not
/// well, one that says much is.
async fn skim(mut body: Incoming) -> Result<(), hyper::Error> {
    let mut read = 0;
    while read < BODY_BYTES_MAX {
        let Some(frame) = body.frame().await else {
            break;
        };
        read += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(())
}

/// Runs `exchange` while driving its connection in the same task.
async fn drive<T>(
    exchange: impl Future<Output = T>,
    connection: impl Future<Output = Result<(), hyper::Error>>,
) -> T {
    let mut exchange = pin!(exchange);
    // A connection that ended tells the exchange itself, so its own result says nothing new.
    let ended = async {
        drop(connection.await);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        done = &mut exchange => done,
        never = ended => match never {},
    }
}

fn broken(error: &hyper::Error) -> Checked {
    if error.is_parse() {
        Checked::failed(Reason::Protocol, "the answer is not valid HTTP/1")
    } else {
        Checked::failed(Reason::Reset, "connection closed before the answer ended")
    }
}

fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}

/// A configured duration as a person would write it.
fn limit(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests;
