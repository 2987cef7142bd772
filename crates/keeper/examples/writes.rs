//! How many writes three members do, over loopback, with every promise on the disk.
//!
//! `cargo run --release -p mainstay-keeper --example writes -- FOLDER [SECONDS]`

#![expect(clippy::expect_used, reason = "a measurement that cannot begin ends")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_keeper::disk::{Disk, DiskFile, Folder};
use mainstay_keeper::log::Limits;
use mainstay_keeper::member::{Member, MemberConfig, PeerConfig, Snapshots};
use mainstay_keeper::network::Tcp;
use mainstay_keeper::proposal::{Action, Origin};
use mainstay_keeper::replica::{Proposal, Replica as _};
use mainstay_keeper::state::{Sink, State, Told};
use mainstay_keeper::tree::Event;
use mainstay_zk_proto::Request;
use mainstay_zk_proto::acl::Acl;
use mainstay_zk_proto::opcode::Opcode;
use mainstay_zk_proto::request::{Create, SetData};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

const DATA_BYTES: usize = 128;
const MEMBERS: u64 = 3;

/// A folder that counts its syncs.
#[derive(Clone, Debug)]
struct Counted(Folder, Arc<Syncs>);

#[derive(Debug, Default)]
struct Syncs {
    count: AtomicU64,
    nanos: AtomicU64,
}

struct CountedFile(File, Arc<Syncs>);

impl Disk for Counted {
    type File = CountedFile;

    fn open(&self, name: &str) -> io::Result<CountedFile> {
        Ok(CountedFile(self.0.open(name)?, Arc::clone(&self.1)))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.0.sync_names()
    }
}

impl DiskFile for CountedFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        self.0.sync()?;
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.1.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.1.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Notes what was done.
#[derive(Clone, Default)]
struct Ears(Arc<Heard>);

#[derive(Default)]
struct Heard {
    told: Mutex<Vec<(Origin, i64)>>,
    settled: Notify,
}

impl Sink for Ears {
    fn event(&mut self, _: &Event, _: i64) {}

    fn session_over(&mut self, _: i64) {}

    fn applied(&mut self, _: &State, told: Told<'_>) {
        assert!(told.result.is_ok(), "{told:?}");
        lock(&self.0.told).push((told.origin, told.operation.sequence));
    }

    fn settled(&mut self) {
        self.0.settled.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Running {
    member: Member<Counted>,
    ears: Ears,
    syncs: Arc<Syncs>,
    session: i64,
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock of the members"
)]
fn time_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

async fn start(folder: &std::path::Path, id: u64, port: u16) -> Running {
    let peer = |id: u64| PeerConfig {
        address: format!("127.0.0.1:{}", u64::from(port) + id),
        line: String::new(),
    };
    let config = MemberConfig {
        cluster: "writes".to_owned(),
        member: id,
        members: (1..=MEMBERS).map(|id| (id, peer(id))).collect(),
        log: Limits::default(),
        snapshots: Snapshots::default(),
        enforce_quota: false,
        seed: id,
        time_ms,
    };
    let ears = Ears::default();
    let syncs = Arc::new(Syncs::default());
    let folder = Folder::new(folder.join(id.to_string())).expect("a folder");
    let disk = Counted(folder, Arc::clone(&syncs));
    let member = Member::start(config, disk, Tcp::default(), ears.clone()).await;
    Running {
        member: member.expect("it starts"),
        ears,
        syncs,
        session: id.cast_signed(),
    }
}

impl Running {
    fn propose(&self, action: Action<'_>) -> i64 {
        let mut number = 0;
        let proposal = Proposal {
            session: self.session,
            identities: Vec::new(),
            action,
        };
        self.member
            .propose(proposal, &mut |sequence| number = sequence);
        number
    }

    fn request(&self, request: &Request<'_>, opcode: Opcode) -> i64 {
        let mut body = Vec::new();
        request.write(&mut body);
        self.propose(Action::Request {
            opcode,
            body: &body,
        })
    }

    /// Keeps so many writes under way.
    async fn load(&self, outstanding: usize, end: Instant) -> Load {
        let path = format!("/{}", self.session);
        let data = [7; DATA_BYTES];
        let write = Request::SetData(SetData {
            path: &path,
            data: Some(&data),
            version: -1,
        });
        let mut under_way = BTreeMap::new();
        let mut load = Load::default();
        let mut last = Instant::now();
        while Instant::now() < end {
            while under_way.len() < outstanding {
                let begun = Instant::now();
                under_way.insert(self.request(&write, Opcode::SetData), begun);
            }
            self.ears.0.settled.notified().await;
            let told = std::mem::take(&mut *lock(&self.ears.0.told));
            let own = told.iter().filter(|one| one.0 == self.member.origin());
            let done = own.filter_map(|(_, number)| under_way.remove(number));
            load.took.extend(done.map(|begun| begun.elapsed()));
            load.gap = load.gap.max(last.elapsed());
            last = Instant::now();
        }
        load
    }
}

/// What a load saw.
#[derive(Debug, Default)]
struct Load {
    took: Vec<Duration>,
    /// The longest time without an answer.
    gap: Duration,
}

fn bare_sync(folder: &std::path::Path) -> Vec<Duration> {
    let mut file = File::create(folder.join("bare")).expect("a file");
    file.write_all(&vec![0; 1_024 * 1_024]).expect("room");
    file.sync_all().expect("syncs");
    let mut times: Vec<Duration> = (0..500_u64)
        .map(|n| {
            let begun = Instant::now();
            DiskFile::write_at(&mut file, &[1; 512], n * 512).expect("writes");
            file.sync_data().expect("syncs");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

fn share(sorted: &[Duration], share: usize) -> Duration {
    let place = (sorted.len() * share / 1_000).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

fn syncs(members: &[Running]) -> (u64, u64) {
    let mut sum = (0, 0);
    for one in members {
        sum.0 += one.syncs.count.load(Ordering::Relaxed);
        sum.1 += one.syncs.nanos.load(Ordering::Relaxed);
    }
    sum
}

/// Writes, spread over the members.
async fn loads(members: &[Running], outstanding: usize, seconds: Duration) -> Load {
    let end = Instant::now() + seconds;
    let count = members.len();
    let each = |place: usize| (outstanding + count - 1 - place) / count;
    let loads = members
        .iter()
        .enumerate()
        .filter(|(place, _)| each(*place) > 0)
        .map(|(place, one)| one.load(each(place), end));
    let mut sum = Load::default();
    for load in futures_util::future::join_all(loads).await {
        sum.took.extend(load.took);
        sum.gap = sum.gap.max(load.gap);
    }
    sum.took.sort_unstable();
    sum
}

async fn leader(members: &[Running]) -> usize {
    loop {
        let leads = |one: &Running| one.member.standing().is_leader;
        if let Some(place) = members.iter().position(leads) {
            return place;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn open(one: &Running) {
    one.propose(Action::Open {
        timeout_ms: 10_000,
        password: [7; 16],
    });
    let path = format!("/{}", one.session);
    let create = Request::Create(Create {
        path: &path,
        data: None,
        acl: vec![Acl::OPEN],
        flags: 0,
    });
    one.request(&create, Opcode::Create);
}

async fn end(killed: Running, stops: bool) {
    sleep(Duration::from_millis(500)).await;
    if stops {
        killed.member.stop().await;
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("which folder?"));
    let seconds = arguments.next().and_then(|text| text.parse().ok());
    let seconds = Duration::from_secs(seconds.unwrap_or(5));
    std::fs::create_dir_all(&folder).expect("a folder");
    let bare = bare_sync(&folder);
    let (half, most) = (share(&bare, 500), share(&bare, 990));
    println!("bare fdatasync of 512 bytes: p50 {half:?}, p99 {most:?}");
    let port = 20_000 + u16::try_from(std::process::id() % 20_000).unwrap_or(0);
    let mut members = Vec::new();
    for id in 1..=MEMBERS {
        members.push(start(&folder, id, port).await);
    }
    leader(&members).await;
    members.iter().for_each(open);
    for outstanding in [1_usize, 16, 144] {
        sleep(Duration::from_millis(500)).await;
        let before = syncs(&members);
        let load = loads(&members, outstanding, seconds).await;
        let after = syncs(&members);
        let count = (after.0 - before.0).max(1);
        let took = load.took.len() as f64;
        println!(
            "{outstanding:>4} outstanding: {:>7.0} writes/s, p50 {:?}, p99 {:?}; {:.1} writes per \
             sync of a member, a sync took {:?}",
            took / seconds.as_secs_f64(),
            share(&load.took, 500),
            share(&load.took, 990),
            took * MEMBERS as f64 / count as f64,
            Duration::from_nanos((after.1 - before.1) / count),
        );
    }
    for stops in [false, false, false, false, false, true, true] {
        let killed = members.remove(leader(&members).await);
        let session = killed.session;
        let ((), load) = tokio::join!(
            end(killed, stops),
            loads(&members, 16, Duration::from_secs(3))
        );
        let how = if stops { "was stopped" } else { "was gone" };
        println!("the leader {how}: {:?} without a write", load.gap);
        members.push(start(&folder, session.cast_unsigned(), port).await);
        leader(&members).await;
    }
}
