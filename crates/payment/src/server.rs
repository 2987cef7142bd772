//! The listening side of the service: connections, limits, and a stop that lets requests finish.
//!
//! Prevents an example that falls over by itself: connections and header time are bounded, and a
//! stop waits for requests in flight, but not for ever.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::options::Options;
use crate::service::Service;

/// Open connections; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 1_024;

/// How long a client may take to send a request's head, and stay idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);

/// How long requests in flight may take to finish once the replica is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Pause after a failed accept: running out of file descriptors must not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// At most one line of progress in this time.
const REPORT_EVERY: Duration = Duration::from_mins(1);

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The hold file exists.
    #[error("{name} is held back while {} exists: remove the file to let it start", file.display())]
    Held {
        /// The replica.
        name: String,
        /// The hold file.
        file: PathBuf,
    },
    /// The port cannot be had.
    #[error("cannot listen on {address}: {source}; choose another --port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The ledger's directory cannot be used.
    #[error("cannot use the ledger {}: {source}; choose another --ledger", path.display())]
    Ledger {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot listen for SIGTERM: {0}")]
    Signal(#[source] io::Error),
}

/// Serves until SIGTERM or SIGINT, then lets requests in flight finish for at most two seconds.
///
/// Wants a runtime with time and I/O; one thread is enough.
///
/// # Errors
/// The replica could not start; see [`StartError`].
pub async fn run(options: Options) -> Result<(), StartError> {
    if let Some(file) = options.hold.as_ref().filter(|file| file.exists()) {
        let (name, file) = (options.name.clone(), file.clone());
        return Err(StartError::Held { name, file });
    }
    let ledger = Ledger::open(options.ledger.as_deref()).map_err(|source| StartError::Ledger {
        path: options.ledger.clone().unwrap_or_default(),
        source,
    })?;
    let listener = listen(options.port).await?;
    let stop = stop_on_signal()?;
    say(&format!(
        "{} listens on {}",
        options.name,
        listener
            .local_addr()
            .map_or_else(|_| "?".to_owned(), |address| address.to_string())
    ));
    let service = Arc::new(Service::new(&options, ledger));
    serve(&listener, &service, stop).await;
    Ok(())
}

async fn listen(port: u16) -> Result<TcpListener, StartError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

fn stop_on_signal() -> Result<impl Future<Output = ()>, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {},
            _ = interrupt.recv() => {},
        }
    })
}

async fn serve(listener: &TcpListener, service: &Arc<Service>, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let draining = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut report = tokio::time::interval(REPORT_EVERY);
    report.tick().await;
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(service), draining.clone()));
                },
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {},
            _ = report.tick() => say(&service.progress()),
        }
    }
    draining.cancel();
    let drained = async { while connections.join_next().await.is_some() {} };
    // What has not finished by then is cut off when the set is dropped.
    tokio::time::timeout(DRAIN_MAX, drained).await.ok();
}

async fn connection(stream: TcpStream, service: Arc<Service>, draining: CancellationToken) {
    // Only a delay is lost if the socket refuses.
    stream.set_nodelay(true).ok();
    let answer = service_fn(|request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(service.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    // A broken connection is the client's to notice.
    tokio::select! {
        _ = &mut connection => return,
        () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.ok();
}

impl Service {
    fn progress(&self) -> String {
        format!(
            "{} requests and {} charges since the start",
            self.requests.load(Ordering::Relaxed),
            self.charges.load(Ordering::Relaxed)
        )
    }
}

/// Nobody may be reading: a closed standard output is no reason to stop serving.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}
