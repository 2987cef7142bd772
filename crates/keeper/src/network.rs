//! The network between members, as far as the keeper needs one: streams of bytes to an address.
//!
//! Prevents a partition from being tested by luck alone: links see this trait, so that a network in
//! memory can be cut in two, in one direction, slowed and reset. [`Tcp`] is the real one.

use std::fmt::Debug;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

pub mod memory;
mod tcp;

pub use tcp::{Tcp, TcpConnection, TcpDoor};

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
    /// What has to happen before bytes flow: a handshake takes the time of its own connection, not
    /// that of those who come behind it.
    type Opening: Future<Output = io::Result<Self::Stream>> + Send + 'static;

    /// The next one.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Opening>> + Send;
}
