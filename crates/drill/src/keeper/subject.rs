//! Whom the drill breaks: Mainstay's keeper, or Apache ZooKeeper as a check of the checkers.
//!
//! Prevents a checker that knows only one store: the same clients, faults and checks run against
//! the original. What that does not promise, or does not tell, is named here and nowhere else.

use std::path::{Path, PathBuf};

/// A store that speaks the ZooKeeper protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The keeper of this program.
    Mainstay,
    /// Apache ZooKeeper.
    ZooKeeper {
        /// Java's class path.
        class_path: String,
    },
}

impl Subject {
    /// Its name in reports.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Mainstay => "mainstay",
            Self::ZooKeeper { .. } => "zookeeper",
        }
    }

    /// Whether a read after a sync is linearizable. ZooKeeper's sync does not ask a quorum: a
    /// leader that was replaced and does not know it answers from the past.
    pub(crate) const fn promises_linearizable_sync(&self) -> bool {
        match self {
            Self::Mainstay => true,
            Self::ZooKeeper { .. } => false,
        }
    }

    /// Whether the zxid of a read's reply is that of the state which was read. ZooKeeper looks at
    /// its zxid after the read, and may have applied more by then.
    pub(crate) const fn stamps_reads(&self) -> bool {
        match self {
            Self::Mainstay => true,
            Self::ZooKeeper { .. } => false,
        }
    }

    /// Whether connections to other members stay open when the leader is gone. ZooKeeper's
    /// members drop all of theirs.
    pub(crate) const fn keeps_connections(&self) -> bool {
        match self {
            Self::Mainstay => true,
            Self::ZooKeeper { .. } => false,
        }
    }

    /// The command of a member with its `zoo.cfg`.
    pub(crate) fn command(&self, mainstay: &Path, zoo_cfg: &Path, folder: &Path) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match self {
            Self::Mainstay => {
                vec![
                    text(mainstay),
                    "keeper".to_owned(),
                    "--zoo-cfg".to_owned(),
                    text(zoo_cfg),
                ]
            },
            Self::ZooKeeper { class_path } => vec![
                "java".to_owned(),
                "-Xmx256m".to_owned(),
                "-XX:+UseSerialGC".to_owned(),
                "-Dzookeeper.admin.enableServer=false".to_owned(),
                format!("-Dzookeeper.log.dir={}", folder.display()),
                "-cp".to_owned(),
                class_path.clone(),
                "org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned(),
                text(zoo_cfg),
            ],
        }
    }
}

/// Where Debian's package `zookeeper` puts ZooKeeper and what it needs.
pub const CLASS_PATH_OF_DEBIAN: &str = "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar";

/// The ports of a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) client: u16,
    pub(crate) quorum: u16,
    pub(crate) election: u16,
}

/// The text of a member's `zoo.cfg`; `others` are lines `server.N=…` of all members.
pub(crate) fn zoo_cfg(data: &Path, client: std::net::SocketAddr, servers: &[String]) -> String {
    format!(
        "tickTime=500\ninitLimit=20\nsyncLimit=6\ndataDir={}\nclientPort={}\n\
         clientPortAddress={}\nmaxClientCnxns=0\nadmin.serverPort=0\nadmin.enableServer=false\n\
         4lw.commands.whitelist=*\n{}\n",
        data.display(),
        client.port(),
        client.ip(),
        servers.join("\n"),
    )
}

/// Where the files of a member are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Its data.
    pub(crate) data: PathBuf,
    /// Its configuration.
    pub(crate) zoo_cfg: PathBuf,
    /// What it prints.
    pub(crate) log: PathBuf,
}
