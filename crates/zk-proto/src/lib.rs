//! The ZooKeeper client protocol, as Apache ZooKeeper 3.8 speaks it: bytes in, values out.
//!
//! Prevents a server and its tools from having two opinions of one wire format: keeper, load
//! generator and oracle read and write with this crate. It borrows from the buffer it reads, so
//! that a request costs no copy, and refuses what is malformed before anything looks at it.
//!
//! | module | what |
//! |---|---|
//! | [`frame`] | where one message ends, and how long it may be |
//! | [`handshake`] | the first message of each side |
//! | [`header`] | what precedes every request and reply |
//! | [`request`], [`multi`] | what clients ask |
//! | [`reply`] | what servers answer |
//! | [`watch`] | what servers tell unasked |
//! | [`opcode`], [`code`], [`mode`], [`acl`], [`stat`] | the words that they use |
//! | [`jute`] | the encoding below all of it |
//!
//! Source: `zookeeper.jute`, `ZooDefs.java` and `KeeperException.java` of Apache ZooKeeper.
#![no_std]

extern crate alloc;

pub mod acl;
pub mod code;
pub mod frame;
pub mod handshake;
pub mod header;
pub mod jute;
pub mod mode;
pub mod multi;
pub mod opcode;
pub mod reply;
pub mod request;
pub mod stat;
pub mod watch;

pub use code::Code;
pub use jute::{Jute, Malformed};
pub use opcode::Opcode;
pub use reply::Reply;
pub use request::Request;
pub use stat::Stat;
