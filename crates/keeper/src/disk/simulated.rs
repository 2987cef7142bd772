//! A disk that keeps only what it promised to keep, and fails when it is told to.
//!
//! Prevents recovery code that was never run. A power cut takes what was not synced: each such
//! write survives whole, not at all, or up to some sector, as chance has it; names that were not
//! synced may be gone or back. Deterministic for a seed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use mainstay_core::random::Random;
use tokio::time::Instant;

use super::{Disk, DiskFile};
use crate::process;

/// What is written at once or not at all.
const SECTOR: usize = 512;

/// How often one who hangs looks whether the disk goes on.
const HANG_STEP: Duration = Duration::from_millis(5);

/// A simulated disk; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<Platter>>);

/// A file of it.
#[derive(Debug)]
pub struct SimulatedFile {
    platter: Arc<Mutex<Platter>>,
    inode: usize,
}

#[derive(Debug)]
struct Platter {
    inodes: Vec<Inode>,
    /// Names as the running system sees them.
    names: Names,
    /// Names that survive.
    durable: Names,
    /// What names became since then, in order.
    views: Vec<View>,
    random: Random,
    failing: Option<Failing>,
    pace: Pace,
    torn_writes: u64,
}

type Names = BTreeMap<String, usize>;

#[derive(Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Writes that were not synced, or whose sync is not over, in order.
    pending: Vec<Pending>,
}

/// When something was done, and when the sync behind it is over.
///
/// What takes time on this disk is done at once all the same, and whoever asked waits afterwards,
/// see [`process::passed`]. So these may lie ahead, and what lies ahead when the power is cut was
/// not done, or was not over.
#[derive(Clone, Copy, Debug)]
struct Span {
    begun: Instant,
    settled: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    span: Span,
    offset: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct View {
    span: Span,
    names: Names,
}

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Each sync fails.
    Sync,
    /// No sync ends, until it is told to go on.
    Hang,
    /// Each write that makes a file longer fails: the disk is full.
    Full,
    /// No sync fails, and none does anything: a disk that lies.
    Lie,
    /// Everything fails: the machine that had it is off.
    Gone,
}

/// How long a sync takes: as chance has it, between these two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The least.
    pub least: Duration,
    /// The most.
    pub most: Duration,
}

impl SimulatedDisk {
    /// An empty disk, which is infinitely fast.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            inodes: Vec::new(),
            names: Names::new(),
            durable: Names::new(),
            views: Vec::new(),
            random: Random::seeded(seed),
            failing: None,
            pace: Pace::default(),
            torn_writes: 0,
        })))
    }

    /// From now on the disk fails so, or not at all.
    pub fn fail(&self, failing: Option<Failing>) {
        lock(&self.0).failing = failing;
    }

    /// From now on syncs take so long.
    pub fn pace(&self, pace: Pace) {
        lock(&self.0).pace = pace;
    }

    /// Writes of which a part survived.
    pub fn torn_writes(&self) -> u64 {
        lock(&self.0).torn_writes
    }

    /// The power is cut. Files that are still open see what is left.
    pub fn cut_power(&self) {
        let now = Instant::now();
        let platter = &mut *lock(&self.0);
        platter.settle(now);
        for inode in &mut platter.inodes {
            platter.torn_writes += inode.lose(now, &mut platter.random);
        }
        let views = std::mem::take(&mut platter.views);
        let seen = views.into_iter().rev().find(|view| view.span.begun <= now);
        for (name, inode) in seen.into_iter().flat_map(|view| view.names) {
            // The file system may have written the name by itself.
            if platter.durable.get(&name) != Some(&inode) && platter.random.below(2) == 0 {
                platter.durable.insert(name, inode);
            }
        }
        platter.names = platter.durable.clone();
    }

    /// The power is cut, and the disk is put into a machine that starts: what is left is on the
    /// answer. Whatever still runs on the old machine reaches nothing any more.
    #[must_use = "what is left is on it"]
    pub fn reboot(&self) -> Self {
        self.cut_power();
        let old = &mut *lock(&self.0);
        old.failing = Some(Failing::Gone);
        Self(Arc::new(Mutex::new(Platter {
            inodes: std::mem::take(&mut old.inodes),
            names: std::mem::take(&mut old.names),
            durable: std::mem::take(&mut old.durable),
            views: Vec::new(),
            random: old.random.clone(),
            failing: None,
            pace: old.pace,
            torn_writes: old.torn_writes,
        })))
    }

    /// Damages one byte of a file, as a bad sector does.
    pub fn damage(&self, name: &str, offset: usize) {
        let platter = &mut *lock(&self.0);
        let Some(&inode) = platter.names.get(name) else {
            return;
        };
        let inode = &mut platter.inodes[inode];
        let copies = [&mut inode.bytes, &mut inode.durable];
        for byte in copies.into_iter().filter_map(|bytes| bytes.get_mut(offset)) {
            *byte ^= 0x40;
        }
    }
}

impl Inode {
    /// What was not promised by `now` survives whole, in part, or not at all; the answer is how
    /// many writes were torn.
    fn lose(&mut self, now: Instant, random: &mut Random) -> u64 {
        let mut torn = 0;
        let begun = |write: &Pending| write.span.begun <= now;
        for write in self.pending.drain(..).filter(begun) {
            let sectors = write.bytes.len().div_ceil(SECTOR) as u64;
            // As likely nothing, everything, and a part.
            let survive = match random.below(3) {
                0 => 0,
                1 => sectors,
                _ => random.below(sectors + 1),
            };
            torn += u64::from(0 < survive && survive < sectors);
            let survive = usize::try_from(survive).unwrap_or(usize::MAX);
            let length = survive.saturating_mul(SECTOR).min(write.bytes.len());
            put(&mut self.durable, &write.bytes[..length], write.offset);
        }
        self.bytes.clone_from(&self.durable);
        torn
    }
}

impl Platter {
    fn check(&self) -> io::Result<()> {
        if self.failing == Some(Failing::Gone) {
            return Err(io::Error::other("the simulated machine is off"));
        }
        Ok(())
    }

    /// Begins a sync; the answer is when it is over.
    fn sync(&mut self) -> io::Result<Instant> {
        self.check()?;
        if self.failing == Some(Failing::Sync) {
            return Err(io::Error::other("the simulated disk fails to sync"));
        }
        let Pace { least, most } = self.pace;
        process::takes(least + self.random.up_to(most.saturating_sub(least)));
        self.settle(Instant::now());
        Ok(now())
    }

    /// What was promised by `now` survives.
    fn settle(&mut self, now: Instant) {
        let is_over = |span: &Span| span.settled.is_some_and(|settled| settled <= now);
        for inode in &mut self.inodes {
            let over = inode.pending.partition_point(|write| is_over(&write.span));
            for write in inode.pending.drain(..over) {
                put(&mut inode.durable, &write.bytes, write.offset);
            }
        }
        let over = self.views.partition_point(|view| is_over(&view.span));
        if let Some(view) = self.views.drain(..over).next_back() {
            self.durable = view.names;
        }
    }

    /// Names were changed.
    fn renamed(&mut self) {
        let names = self.names.clone();
        let span = Span::begin();
        self.views.push(View { span, names });
    }
}

impl Span {
    fn begin() -> Self {
        Self {
            begun: now(),
            settled: None,
        }
    }

    fn settle(&mut self, at: Instant) {
        self.settled.get_or_insert(at);
    }
}

/// The time, as far as whoever works with the disk has got.
fn now() -> Instant {
    Instant::now() + process::taken()
}

fn lock(platter: &Mutex<Platter>) -> MutexGuard<'_, Platter> {
    platter.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits while the disk hangs.
fn hang(platter: &Mutex<Platter>) {
    while lock(platter).failing == Some(Failing::Hang) {
        thread::park_timeout(HANG_STEP);
    }
}

fn put(content: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if content.len() < start + bytes.len() {
        content.resize(start + bytes.len(), 0);
    }
    content[start..start + bytes.len()].copy_from_slice(bytes);
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn open(&self, name: &str) -> io::Result<SimulatedFile> {
        let platter = &mut *lock(&self.0);
        platter.check()?;
        let inode = if let Some(&inode) = platter.names.get(name) {
            inode
        } else {
            platter.inodes.push(Inode::default());
            let inode = platter.inodes.len() - 1;
            platter.names.insert(name.to_owned(), inode);
            platter.renamed();
            inode
        };
        Ok(SimulatedFile {
            platter: Arc::clone(&self.0),
            inode,
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let platter = lock(&self.0);
        platter.check()?;
        Ok(platter.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut platter = lock(&self.0);
        platter.check()?;
        let removed = platter.names.remove(name);
        removed.ok_or(io::ErrorKind::NotFound)?;
        platter.renamed();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let platter = &mut *lock(&self.0);
        platter.check()?;
        let inode = platter.names.remove(from);
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        platter.names.insert(to.to_owned(), inode);
        platter.renamed();
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        hang(&self.0);
        let platter = &mut *lock(&self.0);
        let over = platter.sync()?;
        if platter.failing == Some(Failing::Lie) {
            return Ok(());
        }
        for view in &mut platter.views {
            view.span.settle(over);
        }
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        let platter = lock(&self.platter);
        platter.check()?;
        Ok(platter.inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let platter = lock(&self.platter);
        platter.check()?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = platter.inodes[self.inode]
            .bytes
            .get(start..start.saturating_add(bytes.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let platter = &mut *lock(&self.platter);
        platter.check()?;
        let inode = &mut platter.inodes[self.inode];
        let end = offset + bytes.len() as u64;
        if platter.failing == Some(Failing::Full) && end > inode.bytes.len() as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        put(&mut inode.bytes, bytes, offset);
        inode.pending.push(Pending {
            span: Span::begin(),
            offset,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        hang(&self.platter);
        let platter = &mut *lock(&self.platter);
        let over = platter.sync()?;
        if platter.failing == Some(Failing::Lie) {
            return Ok(());
        }
        for write in &mut platter.inodes[self.inode].pending {
            write.span.settle(over);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
