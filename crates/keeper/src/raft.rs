//! The consensus: openraft behind our own words.
//!
//! Prevents an engine that nobody can replace: what is stored and sent are our own structs, see
//! [`log`](crate::log) and `codec`, and nothing outside of this folder names openraft.
//!
//! | module | what |
//! |---|---|
//! | `node` | a member's consensus: all of this, put together |
//! | `beginning` | what a member begins with |
//! | `engine` | which types openraft works with, and how they become ours |
//! | `runtime` | where openraft's tasks run |
//! | `codec` | what members say to each other |
//! | `store` | openraft's log on our log |
//! | `machine` | openraft's state machine on our state |
//! | `cadence` | when snapshots are taken, and how much of the log is kept |
//! | `frame` | frames between members, and the greeting before them |
//! | `link` | requests to another member, and their answers |
//! | `links` | those links, as members come and go |
//! | `outgoing` | what is to be written to another member, and when |
//! | `serve` | requests of other members, in line |
//! | `desk` | requests of other members, answered |
//! | `network` | what openraft says, on links |
//! | `seat` | which data folder sits under each member's number |
//! | `survey` | what the others have, before anything began |
//! | `roster` | changes of the members, as the leader makes them |
//! | `rejoin` | a member that comes back with another data folder |
//! | `petition` | changes of the members that this member asks for |
//! | `outbox` | what this member proposed and has not applied |
//! | `courier` | takes it to the leader |
//! | `scribe` | makes entries of it, at the leader |
//! | `standing` | who leads, as this member may believe it |
//! | `pulse` | tells the leader which sessions this member heard |
//! | `handover` | a leader leaves the lead to another member |
//! | `watchdog` | a leader whose disk hangs hands over |
//! | `comparison` | members compare what they have |
//! | `quarantine` | a member that differs is taken out of service |
//! | `barrier` | waiting for what was committed before |
//! | `incarnation` | a number that grows with each start |

mod barrier;
mod beginning;
mod cadence;
mod codec;
mod comparison;
mod courier;
mod desk;
mod engine;
mod frame;
mod handover;
mod holding;
mod incarnation;
mod link;
mod links;
mod machine;
mod network;
mod node;
mod outbox;
mod outgoing;
mod petition;
mod pulse;
mod quarantine;
mod rejoin;
mod roster;
mod runtime;
mod scribe;
mod seat;
mod serve;
mod standing;
mod store;
mod survey;
mod watchdog;

pub(crate) use beginning::members;
pub(crate) use node::Node;
