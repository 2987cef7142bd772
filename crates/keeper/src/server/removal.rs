//! Moving between Apache ZooKeeper and here: a member's folder made from ZooKeeper's, and back.
//!
//! Prevents a move that begins with the wrong data. Every member of ZooKeeper's ensemble is moved
//! from its own folder, and members of one ensemble are seldom equally far. What was moved gets
//! ZooKeeper's last transaction as its place in the log, so the first election finds out who has
//! most, as it does after every restart, and whoever has less gets the rest from there.
//!
//! Nothing that is there is changed: ZooKeeper's files stay as they are.

use std::fs;
use std::path::{Path, PathBuf};

use super::{FOLDER_OF_ZOOKEEPER, ServerConfig, ServerError, open};
use crate::disk::Disk as _;
use crate::log::{EntryKind, Limits, Log, LogId};
use crate::member::MemberError;
use crate::raft;
use crate::snapshot::{self, Meta, Reader};
use crate::state::{Sink, State, Told};
use crate::tree::Event;
use crate::zookeeper::{self, Imported};

/// What was moved in has this term; elections begin above it.
const TERM: u64 = 1;

/// What was moved here.
#[derive(Debug)]
pub struct MovedIn {
    /// What was read.
    pub imported: Imported,
    /// Where it lies now.
    pub folder: PathBuf,
}

/// What was moved out.
#[derive(Debug)]
pub struct MovedOut {
    /// The state.
    pub state: State,
    /// The last entry of the log in it: of several members, the one where this is highest has
    /// everything.
    pub last: Option<LogId>,
    /// The file that ZooKeeper reads.
    pub file: PathBuf,
}

/// Makes this member's folder from the data that Apache ZooKeeper, which must not run any more,
/// left in `data_dir` and `log_dir`.
///
/// # Errors
///
/// [`ServerError`]; then this member has no data.
pub fn move_in(
    config: &ServerConfig,
    (data_dir, log_dir): (&Path, &Path),
) -> Result<MovedIn, ServerError> {
    let mut imported = zookeeper::import(data_dir, log_dir).map_err(ServerError::Import)?;
    let folder = config.folder();
    let (disk, lock) = open(&folder)?;
    let names = disk.names();
    let names = names.map_err(|error| ServerError::Folder(folder.clone(), error))?;
    if !names.is_empty() {
        return Err(ServerError::NotEmpty(folder));
    }
    let peers = config.peers();
    let mut lines = String::new();
    for (id, peer) in peers.iter().filter(|(_, peer)| !peer.line.is_empty()) {
        lines.extend(["server.", &id.to_string(), "=", &peer.line, "\n"]);
    }
    // The list of the servers that they come from is over.
    imported.state.belong_to(&lines);
    let at = LogId {
        term: TERM,
        leader: peers.keys().copied().min().unwrap_or_default(),
        index: imported.state.zxid().cast_unsigned(),
    };
    let meta = Meta {
        last: Some(at),
        members_at: Some(at),
        members: raft::members(&peers).map_err(ServerError::Member)?,
    };
    snapshot::write(&disk, &meta, &imported.state.freeze()).map_err(ServerError::Snapshot)?;
    drop(lock);
    Ok(MovedIn { imported, folder })
}

/// Writes what this member, which must not run, has as a snapshot that Apache ZooKeeper reads, into
/// the folder `to`.
///
/// # Errors
///
/// [`ServerError`]; then `to` has no new file.
pub fn move_out(config: &ServerConfig, to: &Path) -> Result<MovedOut, ServerError> {
    let folder = config.folder();
    let (disk, lock) = open(&folder)?;
    let (mut state, mut last) = (State::new(), None);
    let names = snapshot::names(&disk);
    let names = names.map_err(|error| ServerError::Folder(folder.clone(), error))?;
    for name in names {
        let read = Reader::open(&disk, &name).and_then(|reader| {
            let last = reader.meta().last;
            Ok((reader.load()?, last))
        });
        if let Ok(read) = read {
            (state, last) = read;
            break;
        }
    }
    let failed = |error| ServerError::Member(MemberError::Log(error));
    let (_, recovered) = Log::open(disk, 0, Limits::default()).map_err(failed)?;
    for entry in &recovered.entries {
        if last.is_some_and(|last| entry.id.index <= last.index) {
            continue;
        }
        if matches!(entry.kind, EntryKind::Normal) {
            let applied = state.apply(&entry.payload, entry.id.term.cast_signed(), &mut Nobody);
            applied.map_err(|malformed| {
                let why = format!("entry {} cannot be applied: {malformed}", entry.id.index);
                ServerError::Member(MemberError::Stopped(why))
            })?;
        }
        last = Some(entry.id);
    }
    let (name, bytes) = zookeeper::export(&state);
    let inner = to.join(FOLDER_OF_ZOOKEEPER);
    let file = inner.join(name);
    let written = fs::create_dir_all(&inner).and_then(|()| fs::write(&file, bytes));
    written.map_err(|error| ServerError::Folder(to.to_owned(), error))?;
    drop(lock);
    Ok(MovedOut { state, last, file })
}

/// Nobody has to hear what is only read.
struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _: &Event, _: i64) {}

    fn session_over(&mut self, _: i64) {}

    fn applied(&mut self, _: &State, _: Told<'_>) {}

    fn settled(&mut self) {}
}
