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

use super::{Disk, DiskFile};

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
    names: BTreeMap<String, usize>,
    /// Names that survive.
    durable: BTreeMap<String, usize>,
    random: Random,
    failing: Option<Failing>,
}

#[derive(Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    pending: Vec<(u64, Vec<u8>)>,
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
    /// Everything fails: the machine that had it is off.
    Gone,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            random: Random::seeded(seed),
            failing: None,
        })))
    }

    /// From now on the disk fails so, or not at all.
    pub fn fail(&self, failing: Option<Failing>) {
        lock(&self.0).failing = failing;
    }

    /// The power is cut. Files that are still open see what is left.
    pub fn cut_power(&self) {
        let platter = &mut *lock(&self.0);
        let random = &mut platter.random;
        for inode in &mut platter.inodes {
            for (offset, bytes) in inode.pending.drain(..) {
                let sectors = bytes.len().div_ceil(SECTOR) as u64;
                // As likely nothing, everything, and a part.
                let survive = match random.below(3) {
                    0 => 0,
                    1 => sectors,
                    _ => random.below(sectors + 1),
                };
                let survive = usize::try_from(survive).unwrap_or(usize::MAX);
                let length = survive.saturating_mul(SECTOR).min(bytes.len());
                write(&mut inode.durable, &bytes[..length], offset);
            }
            inode.bytes.clone_from(&inode.durable);
        }
        let lost: Vec<String> = platter
            .names
            .keys()
            .filter(|&name| platter.durable.get(name) != platter.names.get(name))
            .cloned()
            .collect();
        for name in lost {
            // The file system may have written the name by itself.
            if platter.random.below(2) == 0
                && let Some(&inode) = platter.names.get(&name)
            {
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
            random: old.random.clone(),
            failing: None,
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

impl Platter {
    fn check(&self) -> io::Result<()> {
        if self.failing == Some(Failing::Gone) {
            return Err(io::Error::other("the simulated machine is off"));
        }
        Ok(())
    }

    fn check_sync(&self) -> io::Result<()> {
        self.check()?;
        if self.failing == Some(Failing::Sync) {
            return Err(io::Error::other("the simulated disk fails to sync"));
        }
        Ok(())
    }
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

fn write(content: &mut Vec<u8>, bytes: &[u8], offset: u64) {
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
        let inode = *platter.names.entry(name.to_owned()).or_insert_with(|| {
            platter.inodes.push(Inode::default());
            platter.inodes.len() - 1
        });
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
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let platter = &mut *lock(&self.0);
        platter.check()?;
        let inode = platter.names.remove(from);
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        platter.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        hang(&self.0);
        let platter = &mut *lock(&self.0);
        platter.check_sync()?;
        platter.durable = platter.names.clone();
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
        write(&mut inode.bytes, bytes, offset);
        inode.pending.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        hang(&self.platter);
        let platter = &mut *lock(&self.platter);
        platter.check_sync()?;
        let inode = &mut platter.inodes[self.inode];
        inode.pending.clear();
        inode.durable.clone_from(&inode.bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let mut kept = 0;
        for seed in 0..100 {
            let disk = SimulatedDisk::new(seed);
            let mut file = disk.open("f").expect("opens");
            disk.sync_names().expect("syncs");
            file.write_at(b"durable", 0).expect("writes");
            file.sync().expect("syncs");
            file.write_at(b"perhaps", 7).expect("writes");
            disk.cut_power();
            let mut bytes = [0; 7];
            file.read_at(&mut bytes, 0).expect("it was promised");
            assert_eq!(&bytes, b"durable", "seed {seed}");
            kept += usize::from(file.read_at(&mut bytes, 7).is_ok());
        }
        assert!(
            (20..80).contains(&kept),
            "{kept} of 100 unsynced writes survived"
        );
    }

    #[test]
    fn a_name_that_was_not_synced_may_be_gone() {
        let mut there = 0;
        for seed in 0..100 {
            let disk = SimulatedDisk::new(seed);
            disk.open("f").expect("opens").sync().expect("syncs");
            disk.cut_power();
            there += disk.names().expect("lists").len();
        }
        assert!((20..80).contains(&there), "{there} of 100 names survived");
    }
}
