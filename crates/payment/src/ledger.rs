//! Where charges are recorded: one file per charge, shared by all replicas.
//!
//! Prevents charging twice when a payment is sent twice: the name of a charge that carries an
//! idempotency key derives from the key, and link(2) lets exactly one replica create it, with its
//! whole content. A charge without a key gets a name of its own, so a payment sent twice without
//! a key is charged twice, and can be counted. A file outlives the process that wrote it, however
//! that process ends; only a crash of the machine may lose it (nothing is synced).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Longest idempotency key: in hexadecimal it still fits a file name of 255 bytes.
pub(crate) const KEY_BYTES_MAX: usize = 100;

/// Charges kept in memory when there is no directory; further ones are refused.
const MEMORY_CHARGES_MAX: usize = 100_000;

/// What was charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Charge {
    /// The id that the payer gave the payment.
    pub(crate) id: String,
    /// The amount in the smallest unit of money.
    pub(crate) amount: u64,
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charged {
    /// It was recorded now.
    Now,
    /// The same key had charged the same before; nothing was recorded.
    Before,
    /// The same key had charged something else before; nothing was recorded.
    Conflict,
    /// The ledger is full; nothing was recorded.
    Full,
}

/// The record of all charges.
#[derive(Debug)]
pub(crate) enum Ledger {
    /// A directory that several replicas share.
    Directory(PathBuf),
    /// This process's memory: charges by name.
    Memory(Mutex<BTreeMap<String, Charge>>),
}

impl Ledger {
    /// Opens the ledger in `path`, creating it when needed; in memory without a path.
    ///
    /// # Errors
    /// The directory can neither be found nor created.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Memory(Mutex::default()));
        };
        std::fs::create_dir_all(path)?;
        Ok(Self::Directory(path.to_owned()))
    }

    /// Records `charge`, once per `key`.
    ///
    /// # Errors
    /// The directory cannot be written or read; the charge may be sent again with the same key.
    pub(crate) fn charge(&self, charge: &Charge, key: Option<&str>) -> io::Result<Charged> {
        match self {
            Self::Directory(path) => in_directory(path, charge, key),
            Self::Memory(charges) => Ok(in_memory(charges, charge, key)),
        }
    }
}

fn in_directory(path: &Path, charge: &Charge, key: Option<&str>) -> io::Result<Charged> {
    let content = serde_json::to_vec(charge)?;
    // The content is complete before the name exists: nobody ever reads half a charge.
    let draft = with_free_name(|unique| {
        let draft = path.join(format!(".draft-{unique}"));
        let mut file = std::fs::File::create_new(&draft)?;
        file.write_all(&content)?;
        Ok(draft)
    })?;
    let charged = match key {
        Some(key) => link_once(&draft, &path.join(keyed(key)), charge),
        None => with_free_name(|unique| {
            std::fs::hard_link(&draft, path.join(format!("one-{unique}"))).map(|()| Charged::Now)
        }),
    };
    // A draft that stays behind is no charge and is never used again.
    std::fs::remove_file(&draft).ok();
    charged
}

/// Tries names until one is free. A process id may come again after a restart, so the id and a
/// number alone do not make a name unique.
fn with_free_name<T>(create: impl Fn(&str) -> io::Result<T>) -> io::Result<T> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        match create(&format!("{}-{number}", std::process::id())) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {},
            result => return result,
        }
    }
}

fn link_once(draft: &Path, name: &Path, charge: &Charge) -> io::Result<Charged> {
    match std::fs::hard_link(draft, name) {
        Ok(()) => Ok(Charged::Now),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let before: Charge = serde_json::from_slice(&std::fs::read(name)?)?;
            Ok(compare(&before, charge))
        },
        Err(error) => Err(error),
    }
}

fn in_memory(
    charges: &Mutex<BTreeMap<String, Charge>>,
    charge: &Charge,
    key: Option<&str>,
) -> Charged {
    let mut charges = charges.lock().unwrap_or_else(PoisonError::into_inner);
    let name = key.map_or_else(|| format!("one-{}", charges.len()), keyed);
    let full = charges.len() >= MEMORY_CHARGES_MAX;
    match charges.entry(name) {
        Entry::Occupied(before) => compare(before.get(), charge),
        Entry::Vacant(_) if full => Charged::Full,
        Entry::Vacant(place) => {
            place.insert(charge.clone());
            Charged::Now
        },
    }
}

fn compare(before: &Charge, charge: &Charge) -> Charged {
    if before == charge {
        Charged::Before
    } else {
        Charged::Conflict
    }
}

/// Two keys never share a name: the key is spelled out, not hashed.
fn keyed(key: &str) -> String {
    key.bytes().fold("key-".to_owned(), |mut name, byte| {
        write!(name, "{byte:02x}").ok();
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(id: &str) -> Charge {
        Charge {
            id: id.to_owned(),
            amount: 5,
        }
    }

    fn recorded(path: &Path) -> Vec<Charge> {
        std::fs::read_dir(path)
            .expect("the ledger exists")
            .map(|entry| std::fs::read(entry.expect("readable").path()).expect("readable"))
            .map(|bytes| serde_json::from_slice(&bytes).expect("whole charges only"))
            .collect()
    }

    #[test]
    fn a_key_charges_once_across_replicas() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let replicas = [(); 2].map(|()| Ledger::open(Some(folder.path())).expect("opens"));
        let charged = replicas
            .each_ref()
            .map(|ledger| ledger.charge(&charge("w1"), Some("k")).expect("charges"));
        assert_eq!(charged, [Charged::Now, Charged::Before]);
        assert_eq!(recorded(folder.path()), [charge("w1")]);
    }

    fn charge_fifty(folder: &Path) -> usize {
        let ledger = Ledger::open(Some(folder)).expect("opens");
        let ids = (0..50).map(|n| format!("w{n}"));
        let charged = ids.map(|id| ledger.charge(&charge(&id), Some(&id)).expect("charges"));
        charged.filter(|charged| *charged == Charged::Now).count()
    }

    #[test]
    fn many_replicas_at_once_charge_a_key_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        let now: usize = std::thread::scope(|scope| {
            let replicas = [(); 8].map(|()| scope.spawn(move || charge_fifty(path)));
            let charged = replicas.map(|replica| replica.join().expect("no panic"));
            charged.iter().sum()
        });
        assert_eq!(now, 50);
        assert_eq!(recorded(path).len(), 50);
    }

    #[test]
    fn without_a_key_the_same_payment_is_charged_twice() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let replicas = [(); 2].map(|()| Ledger::open(Some(folder.path())).expect("opens"));
        for ledger in &replicas {
            let charged = ledger.charge(&charge("w1"), None).expect("charges");
            assert_eq!(charged, Charged::Now);
        }
        assert_eq!(recorded(folder.path()), [charge("w1"), charge("w1")]);
    }

    #[test]
    fn a_key_with_another_content_is_a_conflict() {
        for ledger in [None, Some(tempfile::tempdir().expect("a temporary folder"))] {
            let ledger = Ledger::open(ledger.as_ref().map(tempfile::TempDir::path));
            let ledger = ledger.expect("opens");
            let first = ledger.charge(&charge("w1"), Some("k")).expect("charges");
            let second = ledger.charge(&charge("w2"), Some("k")).expect("charges");
            assert_eq!((first, second), (Charged::Now, Charged::Conflict));
        }
    }

    #[test]
    fn keys_that_look_alike_have_names_of_their_own() {
        assert_ne!(keyed("a/b"), keyed("a_b"));
        assert!(keyed(&"k".repeat(KEY_BYTES_MAX)).len() <= 255);
    }
}
