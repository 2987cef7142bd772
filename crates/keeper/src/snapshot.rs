//! Snapshots on disk: the state at one entry of the log, in blocks with checksums.
//!
//! Prevents a start from half a snapshot, and a long one from the whole log: a snapshot gets its
//! name when all of it is durable, every block is checked before a record of it is believed, and
//! the state that comes out must have the digest that went in.
//!
//! ```text
//! file   magic:8 | blocks; the first holds what it is a snapshot of, an empty one is the end
//! block  length:4 | crc32c of number and content:4 | content: records, each with its length:4
//! ```

use std::fmt;
use std::io;

use crc32c::{crc32c, crc32c_append};
use mainstay_zk_proto::jute::{Jute, Malformed, Reader as Words, read_all};

use crate::disk::{Disk, DiskFile};
use crate::log::LogId;
use crate::state::{FrozenState, LoadError, Loader, State};

const MAGIC: [u8; 8] = *b"mainsnp1";
const NEW: &str = "new-snapshot";
const RECEIVED: &str = "new-received-snapshot";

/// A block is written when it holds as much.
const BLOCK_BYTES: usize = 256 * 1_024;

/// Made durable at a time. The log's disk is often the same, and whoever waits for an answer there
/// must not stand behind a hundred megabytes.
const STEP_BYTES: u64 = 1_024 * 1_024;

/// No block is longer: a record is at most what a client may send, and a little.
const BLOCK_BYTES_MAX: u32 = 64 * 1_024 * 1_024;

/// Snapshots that are kept, for the case that the newest one is damaged.
const KEPT: usize = 3;

/// What a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The last entry in it.
    pub last: Option<LogId>,
    /// The entry that named the members.
    pub members_at: Option<LogId>,
    /// The members, as that entry has them.
    pub members: Vec<u8>,
}

/// Why there is no snapshot to be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The disk failed.
    Disk(io::Error),
    /// A file is damaged.
    Damaged {
        /// Which.
        file: String,
        /// The block.
        block: u32,
        /// How, in words.
        detail: String,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "the disk failed under a snapshot: {error}"),
            Self::Damaged {
                file,
                block,
                detail,
            } => write!(f, "snapshot {file} is damaged in block {block}: {detail}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl SnapshotError {
    /// Whether there was no room for it, and nothing else.
    pub(crate) fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Disk(error) if full.contains(&error.kind()))
    }
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// The name of a snapshot whose last entry is `last`.
fn name(last: Option<LogId>) -> String {
    // Sorted by name is sorted by age.
    let LogId { term, index, .. } = last.unwrap_or_default();
    format!("snapshot-{index:016x}-{term:016x}")
}

/// Names of all finished snapshots, the newest first.
///
/// # Errors
///
/// Those of the disk.
pub fn names<D: Disk>(disk: &D) -> io::Result<Vec<String>> {
    let mut names = disk.names()?;
    names.retain(|name| name.starts_with("snapshot-"));
    names.reverse();
    Ok(names)
}

/// Writes a snapshot, durable with its name, and removes the oldest ones.
///
/// # Errors
///
/// Those of the disk; then there is no new snapshot.
pub fn write<D: Disk>(disk: &D, meta: &Meta, state: &FrozenState) -> Result<String, SnapshotError> {
    let write = || {
        let mut writer = Writer::begin(disk, meta)?;
        state.records(|record| writer.record(record))?;
        writer.finish(disk, meta)
    };
    // Half a snapshot is of no use, and the log needs the room.
    write().inspect_err(|_| drop(disk.remove(NEW)))
}

/// Writes the blocks of a snapshot as they come, from here or from another member.
#[derive(Debug)]
pub struct Writer<F> {
    /// The file's name until it is finished.
    name: &'static str,
    file: F,
    offset: u64,
    /// How much of it is durable.
    durable: u64,
    number: u32,
    block: Vec<u8>,
}

impl<F: DiskFile> Writer<F> {
    /// Begins one.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn begin<D: Disk<File = F>>(disk: &D, meta: &Meta) -> Result<Self, SnapshotError> {
        Self::begin_as(NEW, disk, meta)
    }

    /// Begins one that another member sends, whose blocks come through [`block`](Self::block);
    /// one of this member's own may be under way.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn receive<D: Disk<File = F>>(disk: &D, meta: &Meta) -> Result<Self, SnapshotError> {
        Self::begin_as(RECEIVED, disk, meta)
    }

    fn begin_as<D: Disk<File = F>>(
        name: &'static str,
        disk: &D,
        meta: &Meta,
    ) -> Result<Self, SnapshotError> {
        if disk.names()?.iter().any(|there| there == name) {
            disk.remove(name)?;
        }
        let mut writer = Self {
            name,
            file: disk.open(name)?,
            offset: 0,
            durable: 0,
            number: 0,
            block: Vec::new(),
        };
        writer.put(&MAGIC)?;
        let mut words = Vec::new();
        meta.write(&mut words);
        writer.record(&words)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn record(&mut self, record: &[u8]) -> Result<(), SnapshotError> {
        record.write(&mut self.block);
        if self.block.len() >= BLOCK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds a block as a [`Reader`] has it, which is not empty.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn block(&mut self, block: Vec<u8>) -> Result<(), SnapshotError> {
        self.block = block;
        self.flush()
    }

    /// Ends it; the name is durable.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn finish<D: Disk<File = F>>(
        mut self,
        disk: &D,
        meta: &Meta,
    ) -> Result<String, SnapshotError> {
        let finished = self.try_finish(disk, meta);
        if finished.is_err() {
            self.abandon(disk);
        }
        finished
    }

    fn try_finish<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        meta: &Meta,
    ) -> Result<String, SnapshotError> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        self.flush()?;
        self.sync()?;
        let name = name(meta.last);
        disk.rename(self.name, &name)?;
        disk.sync_names()?;
        for old in names(disk)?.iter().skip(KEPT) {
            disk.remove(old)?;
        }
        Ok(name)
    }

    /// Half a snapshot goes.
    pub(crate) fn abandon<D: Disk<File = F>>(self, disk: &D) {
        // The next one that begins tries again.
        drop(disk.remove(self.name));
    }

    fn flush(&mut self) -> Result<(), SnapshotError> {
        let block = std::mem::take(&mut self.block);
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let crc = checksum(self.number, &block);
        self.put(&length.to_le_bytes())?;
        self.put(&crc.to_le_bytes())?;
        self.put(&block)?;
        self.number += 1;
        self.block = block;
        self.block.clear();
        if self.offset - self.durable >= STEP_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.durable = self.offset;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

fn checksum(number: u32, block: &[u8]) -> u32 {
    crc32c_append(crc32c(&number.to_le_bytes()), block)
}

/// Reads a snapshot block by block.
#[derive(Debug)]
pub struct Reader<F> {
    file: F,
    name: String,
    offset: u64,
    number: u32,
    meta: Meta,
}

impl<F: DiskFile> Reader<F> {
    /// Opens one.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn open<D: Disk<File = F>>(disk: &D, name: &str) -> Result<Self, SnapshotError> {
        let mut reader = Self {
            file: disk.open(name)?,
            name: name.to_owned(),
            offset: 0,
            number: 0,
            meta: Meta::default(),
        };
        if reader.array()? != MAGIC {
            return Err(reader.damaged("it does not begin as a snapshot does"));
        }
        let block = reader.block()?;
        let words: &[u8] = Words::new(&block)
            .read()
            .map_err(|error| reader.damaged(error))?;
        reader.meta = read_all(words).map_err(|error: Malformed| reader.damaged(error))?;
        Ok(reader)
    }

    /// What it is of.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The state in it.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn load(mut self) -> Result<State, SnapshotError> {
        let mut loader = Loader::default();
        loop {
            let block = self.block()?;
            if block.is_empty() {
                break;
            }
            records(&block, |record| loader.record(record)).map_err(|error| self.damaged(error))?;
        }
        loader.finish().map_err(|error| self.damaged(error))
    }

    /// The next records, for another member; none at the end.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn block(&mut self) -> Result<Vec<u8>, SnapshotError> {
        let length = u32::from_le_bytes(self.array()?);
        let crc = u32::from_le_bytes(self.array()?);
        if length > BLOCK_BYTES_MAX {
            return Err(self.damaged("a block is too long"));
        }
        let mut block = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_at(&mut block, self.offset)?;
        self.offset += u64::from(length);
        if checksum(self.number, &block) != crc {
            return Err(self.damaged("its checksum is wrong"));
        }
        self.number += 1;
        Ok(block)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_at(&mut bytes, self.offset)?;
        self.offset += N as u64;
        Ok(bytes)
    }

    fn damaged(&self, detail: impl fmt::Display) -> SnapshotError {
        SnapshotError::Damaged {
            file: self.name.clone(),
            block: self.number,
            detail: detail.to_string(),
        }
    }
}

/// The records of a block.
///
/// # Errors
///
/// Those of `take`, and that a record is cut.
pub fn records(
    block: &[u8],
    mut take: impl FnMut(&[u8]) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let mut words = Words::new(block);
    while !words.rest().is_empty() {
        take(words.read()?)?;
    }
    Ok(())
}

impl<'a> Jute<'a> for Meta {
    const SIZE_MIN: usize = 6;

    fn read(words: &mut Words<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            last: read_id(words)?,
            members_at: read_id(words)?,
            members: words.read::<&[u8]>()?.to_vec(),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_id(self.last, out);
        write_id(self.members_at, out);
        self.members.as_slice().write(out);
    }
}

fn read_id(words: &mut Words<'_>) -> Result<Option<LogId>, Malformed> {
    let is_some: bool = words.read()?;
    is_some.then(|| words.read()).transpose()
}

fn write_id(id: Option<LogId>, out: &mut Vec<u8>) {
    id.is_some().write(out);
    if let Some(id) = id {
        id.write(out);
    }
}

#[cfg(test)]
mod tests;
