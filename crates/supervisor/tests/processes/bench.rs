//! A supervisor under test, and looks at the processes of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::event::Event;
use mainstay_core::health::Hysteresis;
use mainstay_core::restart;
use mainstay_observe::Observer;
use mainstay_observe::log::{Format, Log};
use mainstay_observe::probe::Probe;
use mainstay_supervisor::config::{Leash, Service};
use mainstay_supervisor::{Change, Handle, ReplicaStatus, Stopped, Supervisor};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

/// The program that offers leash and warden.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mainstay-leash");
/// No wait of a test may take longer; only a failure ever waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Supervisors of this process so far.
static BENCHES: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn leash() -> Leash {
    let own = |verb: &str| vec![PROGRAM.to_owned(), verb.to_owned()];
    Leash {
        exec: own("exec"),
        warden: own("warden"),
    }
}

/// One replica of a shell script.
pub(crate) fn script(script: &str) -> Service {
    Service {
        name: "payment".into(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ports: vec![1],
        env: BTreeMap::new(),
        dir: None,
        grace: PATIENCE,
        restart: restart::Policy::default(),
        startup: None,
        readiness: None,
        liveness: None,
    }
}

/// Asks by connecting, often.
pub(crate) fn probe(fall: u32) -> Probe {
    let count = |n| NonZeroU32::new(n).expect("tests use positive counts");
    Probe {
        http_path: None,
        every: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        hysteresis: Hysteresis {
            rise: count(1),
            fall: count(fall),
        },
    }
}

/// A port on which the test answers, or not, in place of a replica.
pub(crate) fn port() -> (u16, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    (port, listener)
}

/// A running supervisor.
pub(crate) struct Bench {
    pub(crate) handle: Handle,
    pub(crate) observer: Observer,
    changes: Arc<Mutex<Vec<Change>>>,
    log: Lines,
    shutdown: CancellationToken,
    run: JoinSet<Stopped>,
    /// An argument of the warden that no other one has.
    mark: String,
}

impl Bench {
    pub(crate) fn start(services: Vec<Service>) -> Self {
        let log = Lines::default();
        let target = Log::to(
            Box::new(log.clone()),
            Format::Json,
            mainstay_core::event::Severity::Debug,
        );
        let observer = Observer::with_log("n1", target).expect("the log starts");
        let changes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&changes);
        let listener = Arc::new(move |change| heard.lock().expect("nobody panics").push(change));
        let mark = format!("mark-{}", BENCHES.fetch_add(1, Ordering::Relaxed));
        let mut leash = leash();
        leash.warden.push(mark.clone());
        let supervisor = Supervisor::start(services, leash, observer.clone(), listener)
            .expect("the services are valid");
        let handle = supervisor.handle();
        let shutdown = CancellationToken::new();
        let mut run = JoinSet::new();
        run.spawn(supervisor.run(shutdown.clone()));
        Self {
            handle,
            observer,
            changes,
            log,
            shutdown,
            run,
            mark,
        }
    }

    /// The pid of its warden.
    pub(crate) fn warden(&self) -> Option<u32> {
        let mark = format!("\0{}\0", self.mark);
        let ours = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.contains(&mark))
        };
        let own = std::process::id();
        wardens_of(own).into_iter().find(ours)
    }

    /// The first replica.
    pub(crate) fn replica(&self) -> ReplicaStatus {
        self.handle.replicas().remove(0)
    }

    /// Its pid once it is ready.
    pub(crate) async fn ready(&self) -> u32 {
        let ready = || Some(self.replica()).filter(|replica| replica.ready)?.pid;
        until("the replica is ready", ready).await
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.changes.lock().expect("nobody panics").clone()
    }

    /// Events so far of which `pick` wants something.
    pub(crate) fn events<T>(&self, pick: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        let records = self.observer.recent(0, usize::MAX);
        records
            .iter()
            .filter_map(|record| pick(&record.event))
            .collect()
    }

    /// Waits for `text` in the log.
    pub(crate) async fn logged(&self, text: &str) {
        until(text, || self.log.text().contains(text).then_some(())).await;
    }

    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn stopped(mut self) -> Stopped {
        self.stop();
        let stopped = time::timeout(PATIENCE, self.run.join_next()).await;
        stopped
            .expect("the supervisor stops")
            .expect("it ran")
            .expect("it did not panic")
    }

    /// Drops the supervisor in the middle of its work.
    pub(crate) async fn abort(mut self) {
        self.run.abort_all();
        while self.run.join_next().await.is_some() {}
    }
}

/// What the log wrote.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panics")).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until `look` finds something; fails naming `what`.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            time::sleep(Duration::from_millis(2)).await;
        }
    };
    time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until: {what}"))
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid is positive");
    kill_process(pid, signal).expect("the process is there");
}

/// A process as /proc shows it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) group: u32,
}

/// All processes that are not zombies.
pub(crate) fn alive() -> Vec<Seen> {
    let entries = fs::read_dir("/proc").expect("this is Linux").flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter_map(|stat| parse(&stat))
        .filter(|seen| !matches!(seen.state, 'Z' | 'X'))
        .collect()
}

/// `pid (name) state ppid pgrp …`; the name may hold anything.
fn parse(stat: &str) -> Option<Seen> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some(Seen {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// The living members of a process group.
pub(crate) fn members(group: u32) -> Vec<Seen> {
    let mut all = alive();
    all.retain(|seen| seen.group == group);
    all
}

/// The wardens that process `parent` started.
pub(crate) fn wardens_of(parent: u32) -> Vec<u32> {
    let mut all = alive();
    all.retain(|seen| seen.parent == parent && seen.name == "mainstay-warden");
    all.iter().map(|seen| seen.pid).collect()
}
