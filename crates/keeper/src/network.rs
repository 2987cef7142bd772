//! The network between members, as far as the keeper needs one: streams of bytes to an address.
//!
//! Prevents a partition from being tested by luck alone: links see this trait, so that a network in
//! memory can be cut in two, in one direction, slowed and reset. [`Tcp`] is the real one.

use std::fmt::Debug;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

pub mod memory;

/// A network, as one member sees it.
pub trait Network: Clone + Debug + Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// What connections come in at.
    type Listener: Listener<Stream = Self::Stream>;

    /// Connects to who listens at `address`.
    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Listens at `address`.
    fn listen(&self, address: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;
}

/// What connections come in at.
pub trait Listener: Send + 'static {
    /// A connection.
    type Stream;

    /// The next one.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Network for Tcp {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn connect(&self, address: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        // A heartbeat is small and does not wait for company.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn listen(&self, address: &str) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
