//! What the client edge has to know.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use mainstay_zk_proto::frame::MESSAGE_BYTES_MAX;

use super::sasl::Users;

/// What a member does for its clients that has no quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutQuorum {
    /// It sends all of them to other members.
    Refuse,
    /// Those who said so may read what it has.
    Read,
}

/// What clients get, and what they do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// ZooKeeper's unit of time, in milliseconds.
    pub tick_ms: u32,
    /// Shortest timeout of sessions, in milliseconds; clients that want less get this.
    pub timeout_min_ms: i32,
    /// Longest timeout of sessions, in milliseconds; clients that want more get this.
    pub timeout_max_ms: i32,
    /// Longest message, in bytes.
    pub message_bytes_max: usize,
    /// Most connections of one address.
    pub connections_of_address_max: Option<NonZeroUsize>,
    /// Who may do anything, as `user:digest`.
    pub super_digest: Option<String>,
    /// Who may prove themselves by SASL.
    pub users: Users,
    /// Clients have to prove themselves by one of these before anything else; empty when they need not.
    pub schemes_required: BTreeSet<String>,
    /// Four-letter words that are answered; `None` for all.
    pub words: Option<BTreeSet<String>>,
    /// What the word `conf` tells, line by line, but for the members.
    pub conf: String,
    /// The text of `zoo.cfg`, without passwords.
    pub initial_configuration: String,
    /// Where data lie: for the word `dirs`.
    pub data_dir: Option<std::path::PathBuf>,
    /// Whether there are no other members.
    pub standalone: bool,
    /// Whether members may be changed.
    pub reconfig_enabled: bool,
    /// No change leaves fewer members with a vote.
    pub voters_min: usize,
    /// What a member does for its clients that has no quorum.
    pub without_quorum: WithoutQuorum,
    /// Containers and nodes with a time to live are looked through this often, in milliseconds.
    pub container_check_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tick_ms: 2_000,
            timeout_min_ms: 4_000,
            timeout_max_ms: 40_000,
            message_bytes_max: MESSAGE_BYTES_MAX,
            connections_of_address_max: NonZeroUsize::new(60),
            super_digest: None,
            users: Users::new(),
            schemes_required: BTreeSet::new(),
            words: Some(["srvr".to_owned()].into()),
            conf: String::new(),
            initial_configuration: String::new(),
            data_dir: None,
            standalone: true,
            reconfig_enabled: false,
            voters_min: 2,
            without_quorum: WithoutQuorum::Refuse,
            container_check_ms: 60_000,
        }
    }
}

impl Settings {
    /// The timeout that a client gets who wants `wanted_ms`.
    pub(super) fn timeout_ms(&self, wanted_ms: i32) -> i32 {
        wanted_ms.max(self.timeout_min_ms).min(self.timeout_max_ms)
    }

    /// Whether a four-letter word is answered.
    pub(super) fn answers(&self, word: &str) -> bool {
        self.words
            .as_ref()
            .is_none_or(|allowed| allowed.contains(word))
    }
}
