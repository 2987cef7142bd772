//! A connection: a socket that never blocks, and what waits on both sides of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, ensure};

use crate::protocol::{Client, What};

/// What is read at once.
const READ_BYTES: usize = 64 * 1_024;

/// A connection.
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// What is spoken on it.
    pub client: Box<dyn Client>,
    /// What waits to be written.
    pub out: Vec<u8>,
    /// Whether there was no room for all of it.
    pub is_waiting: bool,
    /// What came and is no whole message yet.
    input: Vec<u8>,
}

impl Connection {
    /// Connects and greets.
    pub fn open(address: SocketAddr, mut client: Box<dyn Client>) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut out = Vec::new();
        client.greet(&mut out);
        Ok(Self {
            stream,
            client,
            out,
            is_waiting: false,
            input: Vec::new(),
        })
    }

    /// Writes what waits; `false` when some of it still does.
    pub fn write(&mut self) -> Result<bool> {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {},
                Err(error) => return Err(error.into()),
            }
        }
        self.out.drain(..written);
        Ok(self.out.is_empty())
    }

    /// Reads what is there, and says what it was.
    pub fn read(&mut self, scratch: &mut Vec<u8>, heard: &mut Vec<What>) -> Result<()> {
        scratch.resize(READ_BYTES, 0);
        loop {
            let bytes = match self.stream.read(scratch) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            ensure!(bytes > 0, "the server closed the connection");
            if self.input.is_empty() {
                let used = self.client.hear(&scratch[..bytes], &mut self.out, heard)?;
                self.input.extend_from_slice(&scratch[used..bytes]);
            } else {
                self.input.extend_from_slice(&scratch[..bytes]);
                let used = self.client.hear(&self.input, &mut self.out, heard)?;
                self.input.drain(..used);
            }
            // There was not more than this; the next look costs a call.
            if bytes < scratch.len() {
                return Ok(());
            }
        }
    }
}
