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
    /// Names that survive.
    durable: Names,
    /// What was done to them since then, in the order of when that was.
    renamings: Vec<Renaming>,
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
struct Renaming {
    span: Span,
    gone: Option<String>,
    there: Option<(String, usize)>,
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
            durable: Names::new(),
            renamings: Vec::new(),
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
        let renamings = std::mem::take(&mut platter.renamings);
        let begun = renamings.iter().filter(|one| one.span.begun <= now);
        for renaming in begun {
            // The file system may have written it by itself.
            if platter.random.below(2) == 0 {
                renaming.apply(&mut platter.durable);
            }
        }
    }

    /// Who works with it was killed: what lies ahead was not done.
    pub fn abandon(&self) {
        let now = Instant::now();
        let platter = &mut *lock(&self.0);
        platter.settle(now);
        for inode in &mut platter.inodes {
            inode.abandon(now);
        }
        platter.renamings.retain(|one| one.span.begun <= now);
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
            durable: std::mem::take(&mut old.durable),
            renamings: Vec::new(),
            random: old.random.clone(),
            failing: None,
            pace: old.pace,
            torn_writes: old.torn_writes,
        })))
    }

    /// Damages one byte of a file, as a bad sector does.
    pub fn damage(&self, name: &str, offset: usize) {
        let platter = &mut *lock(&self.0);
        let Some(&inode) = platter.names().get(name) else {
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
    /// What had not begun by `now` was not done.
    fn abandon(&mut self, now: Instant) {
        let pending = self.pending.len();
        self.pending.retain(|write| write.span.begun <= now);
        if self.pending.len() == pending {
            return;
        }
        self.bytes.clone_from(&self.durable);
        for write in &self.pending {
            put(&mut self.bytes, &write.bytes, write.offset);
        }
    }

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
        let renamings = &mut self.renamings;
        let over = renamings.partition_point(|one| is_over(&one.span));
        for renaming in renamings.drain(..over) {
            renaming.apply(&mut self.durable);
        }
    }

    /// Names as whoever works with the disk sees them: not what another one will have done.
    fn names(&self) -> Names {
        let now = now();
        let mut names = self.durable.clone();
        let done = self
            .renamings
            .iter()
            .take_while(|one| one.span.begun <= now);
        done.for_each(|one| one.apply(&mut names));
        names
    }

    fn rename(&mut self, gone: Option<&str>, there: Option<(&str, usize)>) {
        let span = Span::begin();
        let renaming = Renaming {
            span,
            gone: gone.map(str::to_owned),
            there: there.map(|(name, inode)| (name.to_owned(), inode)),
        };
        let earlier = |one: &Renaming| one.span.begun <= span.begun;
        let place = self.renamings.partition_point(earlier);
        self.renamings.insert(place, renaming);
    }
}

impl Renaming {
    fn apply(&self, names: &mut Names) {
        if let Some(name) = &self.gone {
            names.remove(name);
        }
        if let Some((name, inode)) = &self.there {
            names.insert(name.clone(), *inode);
        }
    }
}

impl Span {
    fn begin() -> Self {
        Self {
            begun: now(),
            settled: None,
        }
    }

    /// A sync that is over at `at` covers it, if it had begun when that one did.
    fn settle(&mut self, begun: Instant, at: Instant) {
        if self.begun <= begun {
            self.settled = Some(self.settled.map_or(at, |settled| settled.min(at)));
        }
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
        let inode = if let Some(&inode) = platter.names().get(name) {
            inode
        } else {
            platter.inodes.push(Inode::default());
            let inode = platter.inodes.len() - 1;
            platter.rename(None, Some((name, inode)));
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
        Ok(platter.names().into_keys().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut platter = lock(&self.0);
        platter.check()?;
        if !platter.names().contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        platter.rename(Some(name), None);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let platter = &mut *lock(&self.0);
        platter.check()?;
        let names = platter.names();
        let inode = *names.get(from).ok_or(io::ErrorKind::NotFound)?;
        platter.rename(Some(from), Some((to, inode)));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        hang(&self.0);
        let platter = &mut *lock(&self.0);
        let begun = now();
        let over = platter.sync()?;
        if platter.failing == Some(Failing::Lie) {
            return Ok(());
        }
        for renaming in &mut platter.renamings {
            renaming.span.settle(begun, over);
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
        let begun = now();
        let over = platter.sync()?;
        if platter.failing == Some(Failing::Lie) {
            return Ok(());
        }
        for write in &mut platter.inodes[self.inode].pending {
            write.span.settle(begun, over);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
