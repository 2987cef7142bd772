//! Reading the log after a start: what was promised, and not a byte more.

use std::collections::VecDeque;

use mainstay_zk_proto::jute::Reader;

use super::frame::{self, ALIGN, FRAME_HEAD, Frame, SEGMENT_HEAD};
use super::{
    EntryKind, Kept, Limits, Log, LogError, LogId, NEW, OldSegment, Record, Segment, Vote,
};
use crate::disk::{Disk, DiskFile};

/// What the log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Whom this member follows.
    pub vote: Option<Vote>,
    /// The last entry that is known to be committed.
    pub committed: Option<LogId>,
    /// The last entry that is in a snapshot and was purged.
    pub purged: Option<LogId>,
    /// All entries after it, without a gap.
    pub entries: VecDeque<StoredEntry>,
    /// Bytes of a last frame that was never promised, and was cut off.
    pub torn_bytes: u64,
}

/// An entry as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Where it stands.
    pub id: LogId,
    /// What it holds.
    pub kind: EntryKind,
    /// Its content.
    pub payload: Box<[u8]>,
}

/// What one file holds.
struct Scan {
    salt: u64,
    offset: u64,
    length: u64,
    index_max: u64,
}

pub(super) fn open<D: Disk>(
    disk: D,
    salts: u64,
    limits: Limits,
) -> Result<(Log<D>, Recovered), LogError> {
    let mut recovered = Recovered::default();
    let mut old = VecDeque::new();
    let mut number = None;
    let mut last = None;
    let names = names(&disk)?;
    let count = names.len();
    for (place, (first, name)) in names.into_iter().enumerate() {
        if number.is_some_and(|number| number != first) {
            return Err(damaged(&name, 0, "frames before it are missing"));
        }
        let mut file = disk
            .open(&name)
            .map_err(|error| LogError::Disk("open", name.clone(), error))?;
        let mut next = first;
        let is_last = place + 1 == count;
        let scan = scan(&mut file, (&name, is_last), &mut next, &mut recovered)?;
        number = Some(next);
        let index_max = scan.index_max;
        if is_last {
            last = Some(Segment {
                name,
                file,
                salt: scan.salt,
                offset: scan.offset,
                length: scan.length,
                ahead_bytes: limits.ahead_bytes,
                index_max,
            });
        } else {
            old.push_back(OldSegment { name, index_max });
        }
    }
    // Files whose entries were all purged are gone, and the record that says so comes later.
    if let Some(first) = recovered.entries.front()
        && recovered
            .purged
            .is_some_and(|purged| purged.index + 1 < first.id.index)
    {
        let name = last.as_ref().map_or(NEW, |last| &last.name);
        return Err(damaged(name, 0, "entries before those in it are missing"));
    }
    let kept = Kept {
        vote: recovered.vote,
        committed: recovered.committed,
        purged: recovered.purged,
    };
    let mut number = number.unwrap_or(0);
    let segment = if let Some(segment) = last {
        segment
    } else {
        number += 1;
        Segment::begin(&disk, (number - 1, salts), kept, limits)?
    };
    let log = Log {
        disk,
        segment,
        old,
        kept,
        limits,
        number,
        broken: None,
        salts,
        scratch: Vec::new(),
    };
    Ok((log, recovered))
}

/// The files of the log, oldest first. One that was never finished is removed.
fn names<D: Disk>(disk: &D) -> Result<Vec<(u64, String)>, LogError> {
    let all = disk
        .names()
        .map_err(|error| LogError::Disk("list", "its folder".to_owned(), error))?;
    if all.iter().any(|name| name == NEW) {
        disk.remove(NEW)
            .map_err(|error| LogError::Disk("remove", NEW.to_owned(), error))?;
    }
    let mut names: Vec<_> = all
        .into_iter()
        .filter_map(|name| Some((frame::segment_number(&name)?, name)))
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn damaged(file: &str, offset: u64, detail: &'static str) -> LogError {
    LogError::Damaged {
        file: file.to_owned(),
        offset,
        detail,
    }
}

/// Reads one file.
fn scan<F: DiskFile>(
    file: &mut F,
    (name, is_last): (&str, bool),
    number: &mut u64,
    recovered: &mut Recovered,
) -> Result<Scan, LogError> {
    let bytes = read_all(file).map_err(|error| LogError::Disk("read", name.to_owned(), error))?;
    let first = *number;
    let salt = frame::segment_salt(&bytes).ok_or_else(|| damaged(name, 0, "the head is wrong"))?;
    let mut at = usize::try_from(SEGMENT_HEAD).unwrap_or(usize::MAX);
    let mut index_max = 0;
    while let Some(frame) = Frame::decode(bytes.get(at..).unwrap_or_default(), salt)
        && frame.number == *number
    {
        let index = replay(frame.records, recovered)
            .ok_or_else(|| damaged(name, at as u64, "a frame's records make no sense"))?;
        index_max = index_max.max(index);
        at += frame.length;
        *number += 1;
    }
    // A file gets its name after its first frame is durable.
    if *number == first {
        return Err(damaged(name, at as u64, "the first frame is broken"));
    }
    let rest = bytes.get(at..).unwrap_or_default();
    if has_frame_behind(rest, salt) {
        return Err(damaged(
            name,
            at as u64,
            "a frame is broken and good ones follow",
        ));
    }
    let torn = rest
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    // Of a file that is not the last, the next one begins with the next frame, or there is a gap,
    // which the caller sees.
    if is_last && torn > 0 {
        recovered.torn_bytes += torn as u64;
        wipe(file, at as u64, torn)
            .map_err(|error| LogError::Disk("cut the end of", name.to_owned(), error))?;
    }
    Ok(Scan {
        salt,
        offset: at as u64,
        length: bytes.len() as u64,
        index_max,
    })
}

fn read_all<F: DiskFile>(file: &F) -> std::io::Result<Vec<u8>> {
    let length = file.length()?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn wipe<F: DiskFile>(file: &mut F, offset: u64, bytes: usize) -> std::io::Result<()> {
    file.write_at(&vec![0; bytes], offset)?;
    file.sync()
}

/// Whether a good frame follows the broken one at the beginning of `rest`.
fn has_frame_behind(rest: &[u8], salt: u64) -> bool {
    let starts = (ALIGN..rest.len().saturating_sub(FRAME_HEAD)).step_by(ALIGN);
    starts
        .filter_map(|start| rest.get(start..))
        .any(|bytes| Frame::decode(bytes, salt).is_some())
}

/// Does what the records say; the answer is the highest index of an entry.
fn replay(records: &[u8], recovered: &mut Recovered) -> Option<u64> {
    let mut reader = Reader::new(records);
    let mut index_max = 0;
    while !reader.rest().is_empty() {
        match reader.read().ok()? {
            Record::Vote(vote) => recovered.vote = Some(vote),
            Record::Committed(id) => recovered.committed = Some(id),
            Record::Purge(id) => {
                recovered.purged = Some(id);
                recovered.entries.retain(|entry| entry.id.index > id.index);
            },
            Record::Truncate { from } => {
                recovered.entries.retain(|entry| entry.id.index < from);
            },
            Record::Entry { id, kind, payload } => {
                let last = recovered.entries.back().map(|entry| entry.id);
                let is_next = |last: LogId| last.index + 1 == id.index;
                // The first file that is left may begin behind what had been purged when it was
                // begun, and in the middle of what was purged since.
                let is_next = match last {
                    Some(last) => is_next(last),
                    None => recovered
                        .purged
                        .is_none_or(|purged| purged.index < id.index),
                };
                if !is_next {
                    return recovered
                        .purged
                        .filter(|purged| id.index <= purged.index)
                        .map(|_| id.index);
                }
                index_max = index_max.max(id.index);
                recovered.entries.push_back(StoredEntry {
                    id,
                    kind,
                    payload: payload.into(),
                });
            },
        }
    }
    Some(index_max)
}
