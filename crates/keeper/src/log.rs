//! The log on disk: what a member promised to remember.
//!
//! Prevents a promise that was given before it could be kept. A flush is one frame, written and
//! synced before anybody hears of it; votes and entries go through the same file, so that none
//! overtakes the other. After an error of the disk the log takes nothing more: the kernel may have
//! forgotten what it could not write, and a second try would lie.
//!
//! Always holds: at most the last frame is not durable. So a damaged frame with nothing behind it
//! was never promised and is cut off; one with a good frame behind it is damage to what was
//! promised, and the member must not start. Files are `log-<number of the first frame>`; each
//! begins with what is still needed of those before, so that old files can go.
//!
//! ```text
//! file   magic:8 | salt:8 | frames, each at a multiple of 8
//! frame  magic:4 | crc32c:4 | number:8 | length:4 | 0:4 | records
//! ```
//!
//! The salt is random and part of each checksum: no client can write data that look like a frame.
//! Space is written ahead with zeros, so that a flush changes no length, which would cost a second
//! write of the file system.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use crate::disk::{Disk, DiskFile};

mod frame;
mod record;
mod recovery;

pub use record::{EntryKind, LogId, Record, Vote};
pub use recovery::{Recovered, StoredEntry};

use frame::{Frame, SEGMENT_HEAD};

/// How long files get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A new file begins when this one is as long.
    pub segment_bytes: u64,
    /// Space that is written ahead at a time.
    pub ahead_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1_024 * 1_024,
            // More is written and synced at once, and whoever waits for an answer waits for it too.
            ahead_bytes: 1_024 * 1_024,
        }
    }
}

/// The name of a file while it is being made.
const NEW: &str = "new-log";

/// The log. One thread owns it.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: D,
    segment: Segment<D::File>,
    /// Files before the one that is written, oldest first.
    old: VecDeque<OldSegment>,
    kept: Kept,
    limits: Limits,
    /// The next frame's number.
    number: u64,
    /// Why nothing more is taken.
    broken: Option<String>,
    salts: u64,
    scratch: Vec<u8>,
}

/// The file that is written.
#[derive(Debug)]
struct Segment<F> {
    name: String,
    file: F,
    salt: u64,
    /// Where the next frame goes.
    offset: u64,
    /// How long the file is.
    length: u64,
    ahead_bytes: u64,
    index_max: u64,
}

#[derive(Debug)]
struct OldSegment {
    name: String,
    /// The highest index of an entry in it.
    index_max: u64,
}

/// What each file begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kept {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

/// Why the log does not work.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogError {
    /// The disk is full. Nothing was harmed; what was to be flushed was not.
    Full,
    /// The disk failed while the log did this.
    Disk(&'static str, String, io::Error),
    /// The disk failed before; what is durable is not known.
    Broken(String),
    /// A file is damaged where it was promised to be durable.
    Damaged {
        /// Which.
        file: String,
        /// Where.
        offset: u64,
        /// How, in words.
        detail: &'static str,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the disk of the log is full; make room, writes are refused"),
            Self::Disk(what, file, error) => write!(f, "the log could not {what} {file}: {error}"),
            Self::Broken(why) => write!(f, "the log takes nothing more, since {why}"),
            Self::Damaged {
                file,
                offset,
                detail,
            } => write!(
                f,
                "the log is damaged: {detail} in {file} at byte {offset}. What was promised is \
                 lost on this member; empty its data folder and let it join again"
            ),
        }
    }
}

impl std::error::Error for LogError {}

impl<D: Disk> Log<D> {
    /// Opens the log, and says what it holds. `salts` is random; each file's salt comes from it.
    ///
    /// # Errors
    ///
    /// [`LogError::Damaged`] and those of the disk.
    pub fn open(disk: D, salts: u64, limits: Limits) -> Result<(Self, Recovered), LogError> {
        recovery::open(disk, salts, limits)
    }

    /// Makes `records` durable, in their order, all or none.
    ///
    /// # Errors
    ///
    /// [`LogError`]; after all but [`LogError::Full`] the log takes nothing more.
    pub fn flush(&mut self, records: &[Record<'_>]) -> Result<(), LogError> {
        if let Some(why) = &self.broken {
            return Err(LogError::Broken(why.clone()));
        }
        let done = self.try_flush(records);
        match &done {
            Ok(()) | Err(LogError::Full) => {},
            Err(error) => self.broken = Some(error.to_string()),
        }
        done
    }

    fn try_flush(&mut self, records: &[Record<'_>]) -> Result<(), LogError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let frame = Frame::encode(&mut scratch, self.number, self.segment.salt, records);
        let full = self.segment.offset + frame.len() as u64 > self.limits.segment_bytes;
        let done = if full && self.segment.offset > SEGMENT_HEAD {
            self.roll().and_then(|()| {
                let frame = Frame::encode(&mut scratch, self.number, self.segment.salt, records);
                self.segment.append(frame)
            })
        } else {
            self.segment.append(frame)
        };
        self.scratch = scratch;
        done?;
        self.number += 1;
        let mut purged = false;
        for record in records {
            self.kept.take(record);
            if let Record::Entry { id, .. } = record {
                self.segment.index_max = self.segment.index_max.max(id.index);
            }
            purged |= matches!(record, Record::Purge(_));
        }
        if purged { self.drop_old() } else { Ok(()) }
    }

    /// Begins another file.
    fn roll(&mut self) -> Result<(), LogError> {
        let salt = self.next_salt();
        let new = Segment::begin(&self.disk, (self.number, salt), self.kept, self.limits)?;
        self.number += 1;
        let old = std::mem::replace(&mut self.segment, new);
        self.old.push_back(OldSegment {
            name: old.name,
            index_max: old.index_max,
        });
        Ok(())
    }

    /// Removes files that hold nothing that is still needed.
    fn drop_old(&mut self) -> Result<(), LogError> {
        let Some(purged) = self.kept.purged else {
            return Ok(());
        };
        let mut removed = false;
        while let Some(oldest) = self.old.front()
            && oldest.index_max <= purged.index
        {
            let name = &oldest.name;
            self.disk
                .remove(name)
                .map_err(|error| LogError::Disk("remove", name.clone(), error))?;
            self.old.pop_front();
            removed = true;
        }
        if removed {
            self.disk
                .sync_names()
                .map_err(|error| LogError::Disk("sync", "its folder".to_owned(), error))?;
        }
        Ok(())
    }

    const fn next_salt(&mut self) -> u64 {
        // Weyl's sequence: as random as its start, and never the same twice.
        self.salts = self.salts.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.salts
    }
}

impl<F: DiskFile> Segment<F> {
    /// Makes a file whose first frame is `number`. It gets its name when that frame is durable, so
    /// that a file of the log without one is a damaged file.
    fn begin<D: Disk<File = F>>(
        disk: &D,
        (number, salt): (u64, u64),
        kept: Kept,
        limits: Limits,
    ) -> Result<Self, LogError> {
        let fails = |what| move |error: io::Error| of_disk(what, NEW.to_owned(), error);
        let mut segment = Self {
            file: disk.open(NEW).map_err(fails("make"))?,
            name: NEW.to_owned(),
            salt,
            offset: 0,
            length: 0,
            ahead_bytes: limits.ahead_bytes,
            index_max: 0,
        };
        segment.reserve(SEGMENT_HEAD)?;
        segment
            .file
            .write_at(&frame::segment_head(salt), 0)
            .map_err(fails("write"))?;
        segment.offset = SEGMENT_HEAD;
        let mut scratch = Vec::new();
        segment.append(Frame::encode(&mut scratch, number, salt, &kept.records()))?;
        segment.name = frame::segment_name(number);
        disk.rename(NEW, &segment.name).map_err(fails("name"))?;
        disk.sync_names().map_err(fails("sync the name of"))?;
        Ok(segment)
    }

    fn append(&mut self, frame: &[u8]) -> Result<(), LogError> {
        self.reserve(self.offset + frame.len() as u64)?;
        self.file
            .write_at(frame, self.offset)
            .map_err(|error| LogError::Disk("write", self.name.clone(), error))?;
        self.file
            .sync()
            .map_err(|error| LogError::Disk("sync", self.name.clone(), error))?;
        self.offset += frame.len() as u64;
        Ok(())
    }

    /// Writes zeros ahead, so that the file is at least `bytes` long.
    fn reserve(&mut self, bytes: u64) -> Result<(), LogError> {
        static ZEROS: [u8; 64 * 1_024] = [0; 64 * 1_024];
        if bytes <= self.length {
            return Ok(());
        }
        let wanted = bytes.next_multiple_of(self.ahead_bytes);
        while self.length < wanted {
            let missing = usize::try_from(wanted - self.length).unwrap_or(usize::MAX);
            let zeros = &ZEROS[..missing.min(ZEROS.len())];
            self.file
                .write_at(zeros, self.length)
                .map_err(|error| of_disk("make room in", self.name.clone(), error))?;
            self.length += zeros.len() as u64;
        }
        Ok(())
    }
}

fn of_disk(what: &'static str, file: String, error: io::Error) -> LogError {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    if full.contains(&error.kind()) {
        LogError::Full
    } else {
        LogError::Disk(what, file, error)
    }
}

impl Kept {
    fn take(&mut self, record: &Record<'_>) {
        match *record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(id) => self.committed = Some(id),
            Record::Purge(id) => self.purged = Some(id),
            Record::Entry { .. } | Record::Truncate { .. } => {},
        }
    }

    fn records(self) -> Vec<Record<'static>> {
        let vote = self.vote.map(Record::Vote);
        let committed = self.committed.map(Record::Committed);
        let purged = self.purged.map(Record::Purge);
        vote.into_iter().chain(committed).chain(purged).collect()
    }
}

#[cfg(test)]
mod tests;
