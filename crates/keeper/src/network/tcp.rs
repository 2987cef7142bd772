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

/// What protects connections between members.
#[derive(Debug)]
struct Guard {
    tls: Arc<Tls>,
    /// Whether this member calls others by TLS.
    is_spoken: bool,
    /// Hosts of members: whom this member calls may call it.
    hosts: Mutex<BTreeMap<String, ServerName<'static>>>,
}

impl Tcp {
    /// Members come to each other by TLS. Where `is_spoken` is false, this one calls in the open, and
    /// understands those who come by TLS if the settings are unified.
    pub fn guarded(tls: Arc<Tls>, is_spoken: bool) -> Self {
        Self(Some(Arc::new(Guard {
            tls,
            is_spoken,
            hosts: Mutex::default(),
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
        let stream = self.tls.accept(stream).await?;
        let hosts = self
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if !self.tls.is_one_of(&stream, hosts.values()) {
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
                let stream = guard.tls.call(host, stream).await?;
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
