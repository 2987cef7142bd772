//! The listener and the router.
//!
//! Prevents the page for emergencies from becoming one: connections, heads and waits are bounded,
//! every task is joined, and a client that reads nothing is cut off.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mainstay_observe::Observer;
use mainstay_observe::status::StatusSource;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::snapshot::Snapshots;
use crate::stream::STREAMS_MAX;
use crate::{Readiness, api, assets, page, readiness, stream};

/// Open connections; further ones wait in the kernel's backlog. More than [`STREAMS_MAX`], so
/// that open pages cannot keep probes and scrapes out.
const CONNECTIONS_MAX: usize = STREAMS_MAX + 192;
/// A request's head must be complete in this time, and an idle connection is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// A client that takes no byte for this long is cut off.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Bytes that the kernel holds for a client that reads slowly; it would give megabytes.
const SEND_BYTES_MAX: usize = 128 * 1024;
/// How long answers under way may take once the node stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why the admin listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another program has the port.
    #[error(
        "admin address {address} is in use by another program; stop that program, or set \
         `admin` under `[node]` to a free address"
    )]
    InUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on admin address {address}: {source}; set `admin` under `[node]`")]
    Other {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The admin listener of a node, bound and not yet served.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    observer: Observer,
    snapshots: Arc<Snapshots>,
    readiness: Readiness,
}

/// What request handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) observer: Observer,
    pub(crate) snapshots: Arc<Snapshots>,
    readiness: Readiness,
    /// One permit per event stream.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
}

impl FromRef<Shared> for Readiness {
    fn from_ref(shared: &Shared) -> Self {
        shared.readiness.clone()
    }
}

impl Admin {
    /// Opens the listener; port 0 lets the system choose. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(
        address: SocketAddr,
        observer: Observer,
        sources: Arc<dyn StatusSource>,
        readiness: Readiness,
    ) -> Result<Self, BindError> {
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                BindError::InUse { address }
            } else {
                BindError::Other { address, source }
            }
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let snapshots = Snapshots::new(observer.clone(), sources, readiness.clone());
        Ok(Self {
            listener,
            address,
            observer,
            snapshots: Arc::new(snapshots),
            readiness,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then lets answers under way finish, for a bounded time. Nothing
    /// runs any more once it returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = Shared {
            observer: self.observer,
            snapshots: Arc::clone(&self.snapshots),
            readiness: self.readiness,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            shutdown: shutdown.clone(),
        };
        let router = router(shared);
        let mut connections = JoinSet::new();
        tokio::join!(
            self.snapshots.keep_up_to_date(&shutdown),
            accept(&self.listener, &router, &shutdown, &mut connections),
        );
        drop(self.listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
            connections.shutdown().await;
        }
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/assets/{name}", get(assets::asset))
        .route("/metrics", get(api::metrics))
        .route("/api/v1", get(api::index))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/events", get(api::events))
        .route("/api/v1/stream", get(stream::stream))
        .route("/livez", get(readiness::livez))
        .route("/healthz", get(readiness::livez))
        .route("/readyz", get(readiness::readyz))
        .route("/startupz", get(readiness::startupz))
        .fallback(api::not_found)
        .layer(map_response(guard))
        .with_state(shared)
}

/// What every answer says to a browser: run nothing from elsewhere, guess nothing, be in nobody's
/// frame, keep nothing.
async fn guard(mut response: Response) -> Response {
    const HEADERS: [(header::HeaderName, &str); 5] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Accepts until `shutdown`.
async fn accept(
    listener: &TcpListener,
    router: &Router,
    shutdown: &CancellationToken,
    connections: &mut JoinSet<()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let next = async || {
        // The semaphore is never closed; if it were, nothing could be accepted any more.
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        Some((listener.accept().await, place))
    };
    while let Some(Some((accepted, place))) = shutdown.run_until_cancelled(next()).await {
        if let Ok((stream, _)) = accepted {
            let connection = serve(stream, router.clone(), shutdown.clone(), place);
            connections.spawn(connection);
        } else {
            tokio::time::sleep(ACCEPT_RETRY).await;
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    stream: TcpStream,
    router: Router,
    shutdown: CancellationToken,
    place: OwnedSemaphorePermit,
) {
    let socket = SockRef::from(&stream);
    // Where the system refuses an option, the connection works without it.
    socket.set_tcp_nodelay(true).unwrap_or_default();
    socket
        .set_send_buffer_size(SEND_BYTES_MAX)
        .unwrap_or_default();
    // The kernel gives up on data that the client's window has no room for.
    socket
        .set_tcp_user_timeout(Some(STALL_MAX))
        .unwrap_or_default();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // Errors are the client's: it went away, or sent what is not HTTP.
    tokio::select! {
        result = connection.as_mut() => drop(result),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        },
    }
    drop(place);
}
