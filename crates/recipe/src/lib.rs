//! What programs coordinate with: an election, a lock, a list of who is there, a setting that all
//! follow. On Mainstay's keeper and on Apache ZooKeeper alike, since only ZooKeeper's own calls are
//! used.
//!
//! Prevents the mistake that every such library invites: to believe that one still leads. A leader
//! that was paused does not know that another one was elected meanwhile, so each lock and each
//! lead comes with a [`FencingToken`], and what they guard takes it along and refuses an older one.
//!
//! | module | what |
//! |---|---|
//! | [`lock`] | one holder at a time |
//! | [`election`] | one leader at a time, whom everybody can find |
//! | [`membership`] | who is there now |
//! | [`setting`] | a value that all follow |
//! | [`fence`] | tokens, and who refuses old ones |
//!
//! Source: the recipes of `ZooKeeper`'s documentation; M. Kleppmann, "How to do distributed locking"
//! (2016), for the tokens.

pub mod election;
pub mod fence;
pub mod lock;
pub mod membership;
mod patience;
pub mod setting;

pub use fence::{Fence, FencingToken};
pub use zookeeper_client::{Client, Connector};

/// Why a recipe cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The session is over: what it held is held by others. Connect anew, and begin again.
    #[error("the session is over, and {path} is not held any more; connect anew")]
    SessionOver {
        /// The node that it was about.
        path: String,
    },
    /// Somebody else has this name.
    #[error("{path} belongs to another session; use another name, or wait until it has ended")]
    Taken {
        /// The node.
        path: String,
    },
    /// The keeper refused.
    #[error("{path}: {source}")]
    Refused {
        /// The node that it was about.
        path: String,
        /// Why.
        source: zookeeper_client::Error,
    },
}

impl RecipeError {
    fn of(path: &str, source: zookeeper_client::Error) -> Self {
        use zookeeper_client::Error;
        let path = path.to_owned();
        if matches!(source, Error::SessionExpired | Error::ClientClosed) {
            Self::SessionOver { path }
        } else {
            Self::Refused { path, source }
        }
    }
}
