//! Which data folder sits under each member's number.
//!
//! Prevents a member whose disk was lost from being taken for the one that it was: it has forgotten
//! what it voted and what it stored, so that counting it could lose what was acknowledged. Each
//! folder has a random number of its own, its seat. Members tell it when they greet each other, keep
//! in mind whom they met, durably and before they listen, and refuse another folder under the same
//! number until the ensemble has agreed that this member left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crc32c::crc32c;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::frame::Greeting;
use crate::disk::{DiskFile as _, SharedDisk};
use crate::planted::{self, Bug};
use crate::process::{blocking, own};

const NAME: &str = "seats";
const NEW: &str = "new-seats";

/// Numbers of members and their seats; no file is longer than that of all numbers there can be.
const PAIR_BYTES: usize = 16;
const PAIRS_MAX: usize = 1_024;

/// Who was refused within this time is still there.
const KNOCK_MAX: Duration = Duration::from_secs(3);

type Known = BTreeMap<u64, i64>;
type Keep = dyn Fn(&Known) -> io::Result<()> + Send + Sync;

/// The seat of this member's folder, and those of the members that it met.
pub(super) struct Seats {
    member: u64,
    own: i64,
    known: Mutex<Known>,
    /// One writes at a time.
    keeping: Mutex<Box<Keep>>,
    /// Where others wait for that, on no thread.
    turn: tokio::sync::Mutex<()>,
    /// Those who write, or wait for their turn.
    writes: Mutex<JoinSet<()>>,
    /// Who came with another folder than the known one, and when.
    knocks: Mutex<BTreeMap<u64, (i64, Instant)>>,
    /// Who knows another folder under this member's number, until it is another one itself.
    strange_to: Mutex<BTreeSet<u64>>,
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats")
            .field("own", &self.own)
            .field("known", &self.known())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(detail: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, detail)
}

impl Seats {
    /// What is on the disk; a folder that is used for the first time gets the seat `fresh`.
    pub(super) fn open<D: SharedDisk>(disk: &D, member: u64, fresh: i64) -> io::Result<Self> {
        let names = disk.names()?;
        let was = names.iter().any(|name| name == NAME);
        let known = if was { read(disk)? } else { Known::new() };
        let seats = Self {
            member,
            own: known.get(&member).copied().unwrap_or_else(|| fresh.max(1)),
            known: Mutex::new(known),
            keeping: Mutex::new(Box::new({
                let disk = disk.clone();
                move |known| write(&disk, known)
            })),
            turn: tokio::sync::Mutex::default(),
            writes: Mutex::default(),
            knocks: Mutex::default(),
            strange_to: Mutex::default(),
        };
        seats.keep(|known| known.insert(member, seats.own) != Some(seats.own))?;
        Ok(seats)
    }

    pub(super) const fn own(&self) -> i64 {
        self.own
    }

    pub(super) fn known(&self) -> Known {
        lock(&self.known).clone()
    }

    /// The seat under which `member` is known; zero when it is not.
    pub(super) fn of(&self, member: u64) -> i64 {
        lock(&self.known).get(&member).copied().unwrap_or_default()
    }

    /// Whether somebody knows another folder under this member's number.
    pub(super) fn is_strange(&self) -> bool {
        !lock(&self.strange_to).is_empty()
    }

    /// Who was refused lately, with the seat that it has now.
    pub(super) fn knocks(&self) -> BTreeMap<u64, i64> {
        let mut knocks = lock(&self.knocks);
        knocks.retain(|_, (_, at)| at.elapsed() <= KNOCK_MAX);
        knocks
            .iter()
            .map(|(&member, &(seat, _))| (member, seat))
            .collect()
    }

    /// Changes what is known, and makes it durable before anybody goes by it.
    fn keep(&self, change: impl FnOnce(&mut Known) -> bool) -> io::Result<()> {
        let keep = lock(&self.keeping);
        let mut next = self.known();
        if change(&mut next) {
            keep(&next)?;
            *lock(&self.known) = next;
        }
        Ok(())
    }

    /// Whether the other end may be listened to, which said `other`.
    pub(super) async fn meet(self: &Arc<Self>, other: &Greeting) -> io::Result<()> {
        if planted::is(Bug::FolderNotChecked) {
            return Ok(());
        }
        if other.known != 0 && other.known != self.own {
            lock(&self.strange_to).insert(other.member);
            return Err(refused(
                "the other end knows this member's number with another data folder",
            ));
        }
        let (member, seat) = (other.member, other.seat);
        lock(&self.strange_to).remove(&member);
        match self.of(member) {
            0 => self.learn(BTreeMap::from([(member, seat)])).await?,
            _known => {},
        }
        if self.of(member) == seat {
            lock(&self.knocks).remove(&member);
            return Ok(());
        }
        lock(&self.knocks).insert(member, (seat, Instant::now()));
        Err(refused(
            "the other end has another data folder than the one that is known under its number",
        ))
    }

    /// Takes over what others know of members that were not met here.
    pub(super) async fn learn(self: &Arc<Self>, told: Known) -> io::Result<()> {
        self.change(move |known| {
            let before = known.len();
            for (member, seat) in told {
                known.entry(member).or_insert(seat);
            }
            known.len() != before
        })
        .await
    }

    /// The leader, who knows of every change of the members, knows `member` with this folder.
    pub(super) async fn replace(self: &Arc<Self>, member: u64, seat: i64) -> io::Result<()> {
        self.change(move |known| known.insert(member, seat) != Some(seat))
            .await
    }

    /// The ensemble agreed that these left: they may come back with any folder.
    pub(super) async fn forget(self: &Arc<Self>, left: BTreeSet<u64>) -> io::Result<()> {
        let own = self.member;
        self.change(move |known| {
            let before = known.len();
            known.retain(|member, _| *member == own || !left.contains(member));
            known.len() != before
        })
        .await
    }

    async fn change(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Known) -> bool + Send + 'static,
    ) -> io::Result<()> {
        let seats = Arc::clone(self);
        // Whoever gives up waiting does not stop the disk, and the next one waits for it all the same.
        let (done, kept) = oneshot::channel();
        let write = async move {
            let _turn = seats.turn.lock().await;
            let keeper = Arc::clone(&seats);
            let written = blocking(move || keeper.keep(change)).await;
            // Who does not wait any more does not need to hear.
            drop(done.send(written));
        };
        {
            let mut writes = lock(&self.writes);
            while writes.try_join_next().is_some() {}
            writes.spawn(own(write));
        }
        let written = kept.await.map_err(io::Error::other)?;
        written.unwrap_or_else(|died| Err(io::Error::other(died)))
    }
}

fn write<D: SharedDisk>(disk: &D, known: &Known) -> io::Result<()> {
    if disk.names()?.iter().any(|name| name == NEW) {
        disk.remove(NEW)?;
    }
    let pair = |(member, seat): (&u64, &i64)| [member.to_le_bytes(), seat.to_le_bytes()].concat();
    let bytes: Vec<u8> = known.iter().flat_map(pair).collect();
    let mut file = disk.open(NEW)?;
    file.write_at(&crc32c(&bytes).to_le_bytes(), 0)?;
    file.write_at(&bytes, 4)?;
    file.sync()?;
    disk.rename(NEW, NAME)?;
    disk.sync_names()
}

fn read<D: SharedDisk>(disk: &D) -> io::Result<Known> {
    let damaged = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the file `seats` is damaged; without it this member cannot tell who comes back",
        )
    };
    let file = disk.open(NAME)?;
    let length = usize::try_from(file.length()?).map_err(|_long| damaged())?;
    let pairs = length.checked_sub(4).ok_or_else(damaged)?;
    if pairs > PAIRS_MAX * PAIR_BYTES {
        return Err(damaged());
    }
    let (mut crc, mut bytes) = ([0; 4], vec![0; pairs]);
    file.read_at(&mut crc, 0)?;
    file.read_at(&mut bytes, 4)?;
    if crc32c(&bytes) != u32::from_le_bytes(crc) {
        return Err(damaged());
    }
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || words.len() % 2 != 0 {
        return Err(damaged());
    }
    let pairs = words.chunks_exact(2);
    Ok(pairs
        .map(|pair| (u64::from_le_bytes(pair[0]), i64::from_le_bytes(pair[1])))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::frame::Lane;
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    fn greeting(member: u64, seat: i64, known: i64) -> Greeting {
        Greeting {
            cluster: "test".to_owned(),
            member,
            incarnation: 1,
            seat,
            known,
            wanted: 1,
            lane: Lane::Control,
        }
    }

    #[tokio::test]
    async fn another_folder_under_a_known_number_is_refused_also_after_a_power_cut() {
        let disk = SimulatedDisk::new(1);
        let seats = Arc::new(Seats::open(&disk, 1, 77).expect("a good disk"));
        seats.meet(&greeting(2, 5, 0)).await.expect("a new face");
        let disk = disk.reboot();
        let seats = Arc::new(Seats::open(&disk, 1, 78).expect("a good disk"));
        assert_eq!(seats.own(), 77, "the folder is the same one");
        assert!(seats.meet(&greeting(2, 6, 77)).await.is_err());
        assert_eq!(seats.knocks(), BTreeMap::from([(2, 6)]));
        seats.meet(&greeting(2, 5, 77)).await.expect("as it was");
        assert!(!seats.is_strange());
        seats.forget(BTreeSet::from([2])).await.expect("it is kept");
        seats.meet(&greeting(2, 6, 77)).await.expect("it left");
    }

    #[tokio::test]
    async fn who_is_known_with_another_folder_hears_so() {
        let disk = SimulatedDisk::new(2);
        let seats = Arc::new(Seats::open(&disk, 1, 77).expect("a good disk"));
        assert!(seats.meet(&greeting(2, 5, 76)).await.is_err());
        assert!(seats.is_strange());
        seats.meet(&greeting(2, 6, 0)).await.expect("it is new too");
        assert!(!seats.is_strange());
    }
}
