//! Replicated coordination: a tree of nodes that speaks the ZooKeeper protocol.
//!
//! | module | what |
//! |---|---|
//! | [`tree`] | the nodes, and what each operation does to them: pure, the same on every member |

pub mod tree;
