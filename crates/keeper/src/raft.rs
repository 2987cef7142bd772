//! The consensus: openraft behind our own words.
//!
//! Prevents an engine that nobody can replace: what is stored and sent are our own structs, see
//! [`log`](crate::log) and `codec`, and nothing outside of this folder names openraft.
//!
//! | module | what |
//! |---|---|
//! | `engine` | which types openraft works with, and how they become ours |
//! | `codec` | what members say to each other |
//! | `store` | openraft's log on our log |
//! | `machine` | openraft's state machine on our state |

mod codec;
mod engine;
mod machine;
mod store;
