//! How requests and answers look on the wire.

use std::str::FromStr;

use anyhow::Result;

use crate::operation::Operation;
use crate::{etcd, zookeeper};

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// ZooKeeper's.
    Zookeeper,
    /// etcd's: gRPC.
    Etcd,
}

/// It is neither.
#[derive(Clone, Copy, Debug)]
pub struct NoProtocol;

impl std::fmt::Display for NoProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a protocol is zookeeper or etcd")
    }
}

impl std::error::Error for NoProtocol {}

impl FromStr for Protocol {
    type Err = NoProtocol;

    fn from_str(word: &str) -> Result<Self, NoProtocol> {
        match word {
            "zookeeper" => Ok(Self::Zookeeper),
            "etcd" => Ok(Self::Etcd),
            _ => Err(NoProtocol),
        }
    }
}

impl Protocol {
    /// A client that has said nothing yet.
    pub fn client(self) -> Box<dyn Client> {
        match self {
            Self::Zookeeper => Box::new(zookeeper::Session::default()),
            Self::Etcd => Box::new(etcd::Client::default()),
        }
    }
}

/// What a client heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It may ask.
    Open,
    /// This was done.
    Done(u32),
    /// This was not, and why.
    Refused(u32, String),
    /// Something that it watches.
    Event,
}

/// One end of a connection.
pub trait Client {
    /// Begins: what the client says first. What was open before goes on, if the protocol knows how.
    fn greet(&mut self, out: &mut Vec<u8>);

    /// Asks; the answer will have this token.
    fn ask(&mut self, operation: Operation, token: u32, out: &mut Vec<u8>);

    /// Looks at what came, says what it was, and how many bytes are done with.
    fn hear(&mut self, input: &[u8], out: &mut Vec<u8>, heard: &mut Vec<What>) -> Result<usize>;

    /// Says goodbye, so that nothing of this client is left to be cleared away during the next
    /// measurement; says whether there is something to wait for.
    fn leave(&mut self, out: &mut Vec<u8>) -> bool;
}
