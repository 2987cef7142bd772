//! Replicated coordination: a tree of nodes that speaks the ZooKeeper protocol.
//!
//! | module | what |
//! |---|---|
//! | [`tree`] | the nodes, and what each operation does to them: pure, the same on every member |
//! | [`session`] | the sessions of clients |
//! | [`proposal`] | what members ask the log to hold |
//! | [`state`] | all of it together: applies entries of the log, tells what happened |
//! | [`log`] | what a member promised to remember |
//! | [`snapshot`] | the state at one entry of the log |
//! | [`inspection`] | what a member holds, for those who check that members agree |
//! | [`disk`] | the real one, and one that fails on purpose |
//! | [`ensemble`] | who belongs to it |
//! | [`network`] | the real one, and one that is cut on purpose |
//! | [`process`] | the real one, and one that stops, jumps and ends on purpose |
//! | [`member`] | one member of an ensemble |
//! | `touch` | which sessions were heard, on the way to the leader |
//! | [`planted`] | bugs on purpose, in builds of the simulation only |
//! | [`replica`] | a member of the ensemble, as those see it who serve clients |
//! | `raft` | the consensus: openraft behind our own words |
//! | [`watch`] | who watches what at this member |
//! | [`serve`] | the client edge: connections, sessions, answers |
//! | [`tls`] | keys, certificates, and whose are believed |
//! | [`server`] | a member with its client edge, from files that operators have |
//! | [`zoo_cfg`] | the files that operators of ZooKeeper have |
//! | [`zookeeper`] | data of Apache ZooKeeper: moving here, and back |

pub mod disk;
pub mod ensemble;
pub mod inspection;
pub mod log;
pub mod member;
pub mod network;
pub mod planted;
pub mod process;
pub mod proposal;
mod raft;
pub mod replica;
pub mod serve;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod state;
pub mod tls;
mod touch;
pub mod tree;
pub mod watch;
pub mod zoo_cfg;
pub mod zookeeper;
