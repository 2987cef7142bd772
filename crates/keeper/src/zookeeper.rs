//! Data of Apache ZooKeeper: read, so that an ensemble can move here, and written, so that it can
//! move back.
//!
//! Prevents a move that loses something: every checksum is checked, transactions after the snapshot
//! are replayed, sessions keep their numbers and passwords, so that clients go on as if nothing
//! happened. Zxids go on above the highest one that was read.
//!
//! ZooKeeper's snapshots are fuzzy: nodes are written while they change. Replaying is idempotent
//! for that reason, as it is there: what is already so stays so.
//!
//! Source: `FileSnap`, `FileTxnLog`, `DataTree` and `zookeeper.jute` of 3.8.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mainstay_zk_proto::Stat;

use crate::state::State;
use crate::tree::Entry;

mod password;
mod snapshot;
mod transaction;
mod write;

pub use write::export;

/// The folder in ZooKeeper's data folder that its files are in.
const VERSION_FOLDER: &str = "version-2";

/// A node as ZooKeeper keeps it. Its stat counts creations of children, not changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RawNode {
    data: Option<Vec<u8>>,
    acl: Vec<Entry>,
    stat: Stat,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Raw {
    /// By path; the root is the empty one.
    nodes: BTreeMap<String, RawNode>,
    /// Timeouts by session.
    sessions: BTreeMap<i64, i32>,
    zxid: i64,
    time_ms: i64,
}

/// What an import found.
#[derive(Debug)]
pub struct Imported {
    /// The state.
    pub state: State,
    /// The snapshot that it began with; `None` when there was none.
    pub snapshot: Option<PathBuf>,
    /// Transactions that were replayed after it.
    pub replayed: u64,
    /// Snapshots that could not be read, and why: older ones were used instead.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Why nothing could be imported.
#[derive(Debug)]
#[non_exhaustive]
pub enum ImportError {
    /// A file or folder cannot be read.
    Io(PathBuf, io::Error),
    /// There is nothing of ZooKeeper's in the folder.
    Nothing(PathBuf),
    /// A file is damaged where it must not be.
    Damaged {
        /// Which.
        file: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// How, in words.
        detail: String,
    },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            Self::Nothing(path) => write!(
                f,
                "{} holds neither a snapshot nor a log of ZooKeeper; name the folder that zoo.cfg \
                 calls dataDir",
                path.display()
            ),
            Self::Damaged {
                file,
                offset,
                detail,
            } => write!(
                f,
                "{} is damaged at byte {offset}: {detail}",
                file.display()
            ),
        }
    }
}

impl std::error::Error for ImportError {}

/// Reads the data of a member: its newest good snapshot, and all transactions after it.
///
/// # Errors
///
/// [`ImportError`]. A broken end of the last log is none: it was never acknowledged.
pub fn import(data_dir: &Path, log_dir: &Path) -> Result<Imported, ImportError> {
    let snapshots = files(data_dir, "snapshot.")?;
    let logs = files(log_dir, "log.")?;
    if snapshots.is_empty() && logs.is_empty() {
        return Err(ImportError::Nothing(data_dir.to_owned()));
    }
    let mut skipped = Vec::new();
    let mut found = None;
    for (zxid, path) in snapshots.iter().rev() {
        let bytes = read(path)?;
        match snapshot::read(&bytes, *zxid) {
            Ok(raw) => {
                found = Some((raw, path.clone()));
                break;
            },
            Err(malformed) => skipped.push((path.clone(), malformed.to_string())),
        }
    }
    let (mut raw, snapshot) = match found {
        Some((raw, path)) => (raw, Some(path)),
        // Without a snapshot the logs must tell everything from the first transaction on.
        None if skipped.is_empty() => (Raw::empty(), None),
        None => {
            let (file, detail) = skipped.swap_remove(0);
            return Err(ImportError::Damaged {
                file,
                offset: 0,
                detail,
            });
        },
    };
    let mut replayed = 0;
    let after = raw.zxid;
    // The log that holds the first transaction after the snapshot may begin before it.
    let first = logs
        .partition_point(|(zxid, _)| *zxid <= after)
        .saturating_sub(1);
    let count = logs.len();
    for (place, (_, path)) in logs.iter().enumerate().skip(first) {
        let is_last = place + 1 == count;
        replayed += transaction::replay(&read(path)?, path, (after, is_last), &mut raw)?;
    }
    let state = raw.into_state()?;
    Ok(Imported {
        state,
        snapshot,
        replayed,
        skipped,
    })
}

/// Files called `prefix` and a zxid, oldest first.
fn files(folder: &Path, prefix: &str) -> Result<Vec<(i64, PathBuf)>, ImportError> {
    let inner = folder.join(VERSION_FOLDER);
    let folder = if inner.is_dir() {
        inner
    } else {
        folder.to_owned()
    };
    let fails = |error| ImportError::Io(folder.clone(), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(fails)? {
        let entry = entry.map_err(fails)?;
        let name = entry.file_name();
        let zxid = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix))
            .and_then(|hex| i64::from_str_radix(hex, 16).ok());
        found.extend(zxid.map(|zxid| (zxid, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    fs::read(path).map_err(|error| ImportError::Io(path.to_owned(), error))
}

impl Raw {
    /// What a new ensemble begins with.
    fn empty() -> Self {
        let open = RawNode {
            data: Some(Vec::new()),
            acl: vec![Entry {
                perms: mainstay_zk_proto::acl::perms::ALL,
                scheme: "world".into(),
                id: "anyone".into(),
            }],
            stat: Stat::default(),
        };
        let paths = ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
        Self {
            nodes: paths.map(|path| (path.to_owned(), open.clone())).into(),
            ..Self::default()
        }
    }

    fn into_state(self) -> Result<State, ImportError> {
        let sessions = self
            .sessions
            .into_iter()
            .map(|(id, timeout_ms)| (id, timeout_ms, password::of(id)));
        let nodes = self
            .nodes
            .into_iter()
            .map(|(path, node)| (path, node.data, node.acl, node.stat));
        State::imported(nodes, sessions, self.zxid, self.time_ms).map_err(|path| {
            ImportError::Damaged {
                file: PathBuf::from(path),
                offset: 0,
                detail: "this node's parent is not there".to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests;
