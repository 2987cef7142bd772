//! The real network: TCP, in the open or by TLS.
//!
//! Prevents a stranger who reaches a member's port from taking part: where members speak TLS, each
//! end shows a certificate, and it has to name a host of the ensemble.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsStream;

use super::{Listener, Network};
use crate::tls::{self, Tls};

/// TCP.
#[derive(Clone, Debug, Default)]
pub struct Tcp(Option<Arc<Guard>>);

/// Hears why somebody was turned away.
type Tell = Box<dyn Fn(&dyn fmt::Display) + Send + Sync>;

/// What protects connections between members.
struct Guard {
    tls: Arc<Tls>,
    /// Whether this member calls others by TLS.
    is_spoken: bool,
    /// Hosts of members: whom this member calls may call it.
    hosts: Mutex<BTreeMap<String, ServerName<'static>>>,
    tell: Tell,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("tls", &self.tls)
            .field("is_spoken", &self.is_spoken)
            .finish_non_exhaustive()
    }
}

impl Tcp {
    /// Members come to each other by TLS. Where `is_spoken` is false, this one calls in the open, and
    /// understands those who come by TLS if the settings are unified. `tell` hears of those who are
    /// turned away, and why: a certificate that is wrong looks like a member that is not there.
    pub fn guarded(
        tls: Arc<Tls>,
        is_spoken: bool,
        tell: impl Fn(&dyn fmt::Display) + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(Guard {
            tls,
            is_spoken,
            hosts: Mutex::default(),
            tell: Box::new(tell),
        })))
    }
}

impl Guard {
    /// The host of an address that was called, which is a member's from now on.
    fn host(&self, address: &str) -> io::Result<ServerName<'static>> {
        let (host, _) = address
            .rsplit_once(':')
            .ok_or(io::ErrorKind::InvalidInput)?;
        let host = host.trim_matches(['[', ']']);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get(host) {
            return Ok(known.clone());
        }
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        hosts.insert(host.to_owned(), name.clone());
        Ok(name)
    }

    /// The handshake with somebody who came.
    async fn open(&self, stream: TcpStream) -> io::Result<TcpConnection> {
        if self.tls.is_unified() && !tls::is_spoken(&stream).await {
            return Ok(TcpConnection::Open(stream));
        }
        let peer = stream.peer_addr()?;
        let accepted = self.tls.accept(stream).await;
        let stream = accepted.inspect_err(|error| {
            (self.tell)(&format_args!("a member that came from {peer}: {error}"));
        })?;
        let hosts = self
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if !self.tls.is_one_of(&stream, hosts.values()) {
            (self.tell)(&format_args!(
                "a member that came from {peer}: its certificate names no host of the ensemble"
            ));
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(TcpConnection::Guarded(Box::new(stream.into())))
    }
}

impl Network for Tcp {
    type Stream = TcpConnection;
    type Listener = TcpDoor;

    async fn connect(&self, address: &str) -> io::Result<TcpConnection> {
        // Known before there is a connection: the other end may be quicker to call.
        let host = self.0.as_ref().map(|guard| guard.host(address)).transpose();
        let stream = TcpStream::connect(address).await?;
        // A heartbeat is small and does not wait for company.
        stream.set_nodelay(true)?;
        match (&self.0, host?) {
            (Some(guard), Some(host)) if guard.is_spoken => {
                let called = guard.tls.call(host, stream).await;
                let stream = called.inspect_err(|error| {
                    (guard.tell)(&format_args!("the member at {address}: {error}"));
                })?;
                Ok(TcpConnection::Guarded(Box::new(stream.into())))
            },
            _ => Ok(TcpConnection::Open(stream)),
        }
    }

    async fn listen(&self, address: &str) -> io::Result<TcpDoor> {
        let listener = TcpListener::bind(address).await?;
        Ok(TcpDoor {
            listener,
            guard: self.0.clone(),
        })
    }
}

/// Where connections come in.
#[derive(Debug)]
pub struct TcpDoor {
    listener: TcpListener,
    guard: Option<Arc<Guard>>,
}

impl Listener for TcpDoor {
    type Stream = TcpConnection;
    type Opening = Pin<Box<dyn Future<Output = io::Result<TcpConnection>> + Send>>;

    async fn accept(&mut self) -> io::Result<Self::Opening> {
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        let guard = self.guard.clone();
        Ok(Box::pin(async move {
            match guard {
                None => Ok(TcpConnection::Open(stream)),
                Some(guard) => guard.open(stream).await,
            }
        }))
    }
}

/// A connection.
pub enum TcpConnection {
    /// Anybody on the way can read and change it.
    Open(TcpStream),
    /// Nobody can.
    Guarded(Box<TlsStream<TcpStream>>),
}

impl fmt::Debug for TcpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::Guarded(_) => "Guarded",
        })
    }
}

impl AsyncRead for TcpConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Guarded(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Guarded(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_flush(cx),
            Self::Guarded(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Guarded(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
