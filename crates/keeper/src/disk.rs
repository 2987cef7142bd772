//! The disk, as far as the keeper needs one: files with names, written and made durable.
//!
//! Prevents a promise that was never kept by the hardware from being tested by luck alone: the log
//! and the snapshots see this trait, so that a simulated disk can lose what was not synced, tear
//! writes and fail. [`Folder`] is the real one.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

pub mod simulated;

/// A place for files.
pub trait Disk: Send + 'static {
    /// One of its files.
    type File: DiskFile;

    /// Opens a file for reading and writing; makes an empty one where there is none. Its name is
    /// durable after [`sync_names`](Self::sync_names) only.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Names of all files, sorted.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes what was opened, removed and renamed durable.
    ///
    /// # Errors
    ///
    /// Those of the disk; then nobody knows what is durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// A disk that several may use.
pub trait SharedDisk: Disk + Clone + Debug + Sync {}

impl<D: Disk + Clone + Debug + Sync> SharedDisk for D {}

/// A file.
pub trait DiskFile: Send + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn length(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    ///
    /// Those of the disk; [`io::ErrorKind::UnexpectedEof`] beyond its end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes `bytes` at `offset`, growing the file if it must.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    ///
    /// Those of the disk; then nobody knows what is durable, and nobody may try again: the kernel
    /// may have forgotten what it could not write.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Disk for Folder {
    type File = File;

    fn open(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.0.join(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
