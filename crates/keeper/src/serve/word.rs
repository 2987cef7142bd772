//! Four-letter words: what operators and their tools ask in plain text on the same port.
//!
//! Prevents a tool that has to be written anew: the texts are those of ZooKeeper 3.8, which
//! monitoring and clients parse. Words that were not allowed are refused, for some of them name
//! clients and paths.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;

use super::admin::quorum_size;
use super::desk::{Desk, read};
use super::expiry::Crowd;
use super::line::Line;
use crate::process::wall_ms;
use crate::replica::{DiskStanding, Replica, Standing};
use crate::state::State;

/// What clients take for the server's version, before features that depend on it.
pub const VERSION: &str = "3.8.0-mainstay, built on 2026-11-23 00:00 UTC";

/// Bytes of a word.
pub(super) const WORD_BYTES: usize = 4;

macro_rules! words {
    ($($name:ident = $text:literal,)*) => {
        /// A four-letter word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Word { $($name,)* }

        impl Word {
            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn of(text: &[u8]) -> Option<Self> {
                $(if text == $text.as_bytes() { return Some(Self::$name); })*
                None
            }
        }
    };
}

words! {
    Conf = "conf", Cons = "cons", Crst = "crst", Dirs = "dirs", Dump = "dump", Envi = "envi",
    Gtmk = "gtmk", Hash = "hash", Isro = "isro", Mntr = "mntr", Ruok = "ruok", Srst = "srst",
    Srvr = "srvr", Stat = "stat", Stmk = "stmk", Wchc = "wchc", Wchp = "wchp", Wchs = "wchs",
}

impl Word {
    /// How many bytes belong to it.
    pub(super) const fn bytes(self) -> usize {
        if matches!(self, Self::Stmk) {
            WORD_BYTES + 8
        } else {
            WORD_BYTES
        }
    }
}

/// The word that `bytes` begin with. No message does: it would be longer than any may be.
pub(super) fn find(bytes: &[u8]) -> Option<Word> {
    Word::of(bytes.get(..WORD_BYTES)?)
}

/// The answer to a word; `said` is what the client sent.
pub(super) fn answer<R: Replica>(desk: &Desk, replica: &R, word: Word, said: &[u8]) -> String {
    if !desk.settings.answers(word.text()) {
        let text = word.text();
        return format!("{text} is not executed because it is not in the whitelist.\n");
    }
    let mut out = String::new();
    match tell(desk, replica, word, said, &mut out) {
        Ok(()) => out,
        // Writing to a string does not fail.
        Err(fmt::Error) => String::new(),
    }
}

fn tell<R: Replica>(
    desk: &Desk,
    replica: &R,
    word: Word,
    said: &[u8],
    out: &mut String,
) -> fmt::Result {
    match word {
        Word::Ruok => write!(out, "imok"),
        Word::Srvr | Word::Stat => standing(desk, replica, word, out),
        Word::Mntr => monitor(desk, replica, out),
        Word::Conf => {
            let bytes = desk.settings.data_dir.as_deref().map_or(0, bytes_below);
            for line in desk.settings.conf.lines() {
                writeln!(out, "{line}")?;
                // Their sizes are said behind the folders.
                if line.starts_with("dataDir=") {
                    writeln!(out, "dataDirSize={bytes}")?;
                } else if line.starts_with("dataLogDir=") {
                    writeln!(out, "dataLogSize={bytes}")?;
                }
            }
            read(replica.state(), |state: &State| {
                match state.member_lines() {
                    "" => Ok(()),
                    lines => write!(out, "membership: \n{lines}"),
                }
            })
        },
        Word::Cons => connections(desk, out),
        Word::Envi => {
            writeln!(out, "Environment:")?;
            facts().try_for_each(|(name, value)| writeln!(out, "{name}={value}"))
        },
        Word::Dump => sessions(desk, replica, out),
        Word::Wchs | Word::Wchc | Word::Wchp => watches(desk, word, out),
        Word::Isro => {
            let is_writing = replica.standing().leader.is_some();
            write!(out, "{}", if is_writing { "rw" } else { "ro" })
        },
        Word::Srst => {
            desk.tally.reset();
            writeln!(out, "Server stats reset.")
        },
        Word::Crst => {
            for line in desk.connections() {
                line.tally.reset();
            }
            writeln!(out, "Connection stats reset.")
        },
        Word::Dirs => {
            let bytes = desk.settings.data_dir.as_deref().map_or(0, bytes_below);
            writeln!(out, "datadir_size: {bytes}\nlogdir_size: {bytes}")
        },
        Word::Gtmk => write!(out, "{}", desk.trace_mask.load(Ordering::Relaxed)),
        Word::Stmk => {
            let mask = said.get(WORD_BYTES..).and_then(<[u8]>::first_chunk);
            let mask = mask.map_or(0, |bytes| u64::from_be_bytes(*bytes));
            desk.trace_mask.store(mask, Ordering::Relaxed);
            write!(out, "{mask}")
        },
        Word::Hash => read(replica.state(), |state| {
            writeln!(out, "{:x}: {}", state.zxid(), state.tree().digest())
        }),
    }
}

pub(super) const fn mode(desk: &Desk, standing: &Standing) -> &'static str {
    match standing {
        _ if desk.settings.standalone => "standalone",
        Standing {
            is_observer: true, ..
        } => "observer",
        Standing {
            is_leader: true, ..
        } => "leader",
        Standing {
            leader: Some(_), ..
        } => "follower",
        Standing { leader: None, .. } => "read-only",
    }
}

fn standing<R: Replica>(desk: &Desk, replica: &R, word: Word, out: &mut String) -> fmt::Result {
    writeln!(out, "Zookeeper version: {VERSION}")?;
    if word == Word::Stat {
        writeln!(out, "Clients:")?;
        for line in desk.connections() {
            writeln!(out, " {})", brief(&line))?;
        }
        writeln!(out)?;
    }
    let standing = replica.standing();
    let latency = desk.tally.latency();
    writeln!(
        out,
        "Latency min/avg/max: {}/{:.4}/{}",
        latency.min, latency.mean, latency.max
    )?;
    writeln!(out, "Received: {}", desk.tally.received())?;
    writeln!(out, "Sent: {}", desk.tally.sent())?;
    writeln!(out, "Connections: {}", desk.connections_len())?;
    writeln!(out, "Outstanding: {}", outstanding(desk))?;
    let (zxid, nodes) = read(replica.state(), |state| (state.zxid(), state.tree().len()));
    writeln!(out, "Zxid: {zxid:#x}")?;
    writeln!(out, "Mode: {}", mode(desk, &standing))?;
    writeln!(out, "Node count: {nodes}")?;
    if standing.is_leader && !desk.settings.standalone {
        writeln!(out, "Proposal sizes last/min/max: -1/-1/-1")?;
    }
    Ok(())
}

/// Requests that wait for their answer.
pub(super) fn outstanding(desk: &Desk) -> usize {
    let lines = desk.connections();
    lines.iter().map(|line| line.outbox().pending_len()).sum()
}

fn brief(line: &Line) -> String {
    let Line { peer, tally, .. } = line;
    format!(
        "/{peer}[1](queued={},recved={},sent={}",
        line.outbox().pending_len(),
        tally.received(),
        tally.sent()
    )
}

fn connections(desk: &Desk, out: &mut String) -> fmt::Result {
    for line in desk.connections() {
        write!(out, " {}", brief(&line))?;
        let session = line.session();
        if session != 0 {
            let latency = line.tally.latency();
            write!(
                out,
                ",sid={session:#x},lop={},est={},to={},lcxid={:#x},lzxid=0xffffffffffffffff,\
                 lresp=0,llat=0,minlat={},avglat={:.0},maxlat={}",
                line.tally.last_operation(),
                line.since_ms,
                line.timeout_ms(),
                line.tally.last_xid(),
                latency.min,
                latency.mean,
                latency.max
            )?;
        }
        writeln!(out, ")")?;
    }
    writeln!(out)
}

/// What the word `mntr` tells.
pub(super) fn monitor_text<R: Replica>(desk: &Desk, replica: &R) -> String {
    let mut out = String::new();
    monitor(desk, replica, &mut out).unwrap_or_default();
    out
}

fn monitor<R: Replica>(desk: &Desk, replica: &R, out: &mut String) -> fmt::Result {
    let latency = desk.tally.latency();
    let standing = replica.standing();
    let watches = desk.watches().counts().watches;
    let (zxid, znodes, ephemerals, bytes, sessions) = read(replica.state(), |state: &State| {
        let tree = state.tree();
        let sessions = state.sessions().len();
        let (len, ephemerals) = (tree.len(), tree.ephemerals_len());
        (state.zxid(), len, ephemerals, tree.data_bytes(), sessions)
    });
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let open = open.and_then(|open| open.split_whitespace().next());
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let uptime_ms = wall_ms().saturating_sub(desk.started_ms());
    // In ZooKeeper's order, as far as it has them.
    let lines: [(&str, &dyn fmt::Display); 22] = [
        ("version", &VERSION),
        ("server_state", &mode(desk, &standing)),
        ("ephemerals_count", &ephemerals),
        ("num_alive_connections", &desk.connections_len()),
        ("avg_latency", &format!("{:.4}", latency.mean)),
        ("outstanding_requests", &outstanding(desk)),
        ("znode_count", &znodes),
        ("global_sessions", &sessions),
        ("packets_sent", &desk.tally.sent()),
        ("packets_received", &desk.tally.received()),
        ("connection_drop_probability", &"0.0"),
        ("watch_count", &watches),
        ("min_latency", &latency.min),
        ("max_file_descriptor_count", &open.unwrap_or("0")),
        ("approximate_data_size", &bytes),
        ("open_file_descriptor_count", &descriptors),
        ("local_sessions", &0),
        ("uptime", &uptime_ms),
        ("max_latency", &latency.max),
        ("quorum_size", &quorum_size(replica)),
        ("last_processed_zxid", &zxid),
        ("term", &standing.term),
    ];
    for (name, value) in lines {
        writeln!(out, "zk_{name}\t{value}")?;
    }
    let overdue = desk.silences.overdue();
    writeln!(out, "zk_stale_sessions_expired\t{overdue}")?;
    let (crowds, last) = desk.silences.crowds();
    writeln!(out, "zk_session_crowds_expired\t{crowds}")?;
    if let Some(Crowd { due, of }) = last {
        writeln!(
            out,
            "zk_session_crowd_last\t{due} of {of} sessions were silent at once"
        )?;
    }
    writeln!(
        out,
        "zk_disk_blocked\t{}",
        u8::from(standing.disk != DiskStanding::Fine)
    )?;
    let (faults, last) = desk.faults();
    writeln!(out, "zk_connection_faults\t{faults}")?;
    writeln!(out, "zk_connection_fault_last\t{last}")
}

/// What the word `envi` tells. There is no Java here, but tools look for its lines.
pub(super) fn facts() -> impl Iterator<Item = (String, String)> {
    const NONE: &str = "<NA>";
    let file = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| NONE.to_owned());
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let megabytes = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        format!("{}MB", kilobytes.unwrap_or_default() / 1_024)
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        arch => arch,
    };
    let folder = std::env::current_dir().map(|folder| folder.display().to_string());
    let or_none = |value: Result<String, std::io::Error>| value.unwrap_or_else(|_| NONE.to_owned());
    let first = [
        ("zookeeper.version", VERSION.to_owned()),
        ("host.name", or_none(file("/proc/sys/kernel/hostname"))),
    ];
    let java = ["version", "vendor", "home", "class.path", "library.path"];
    let java = java.map(|name| (format!("java.{name}"), NONE.to_owned()));
    let rest = [
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", NONE.to_owned()),
        ("os.name", "Linux".to_owned()),
        ("os.arch", arch.to_owned()),
        ("os.version", or_none(file("/proc/sys/kernel/osrelease"))),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", or_none(folder)),
        ("os.memory.free", megabytes("MemAvailable")),
        ("os.memory.max", megabytes("MemTotal")),
        ("os.memory.total", megabytes("MemTotal")),
    ];
    let owned = |(name, value): (&str, String)| (name.to_owned(), value);
    let first = first.into_iter().map(owned).chain(java);
    first.chain(rest.into_iter().map(owned))
}

fn sessions<R: Replica>(desk: &Desk, replica: &R, out: &mut String) -> fmt::Result {
    read(replica.state(), |state: &State| {
        writeln!(out, "SessionTracker dump:")?;
        writeln!(out, "Global Sessions({}):", state.sessions().len())?;
        for (id, session) in state.sessions().iter() {
            writeln!(out, "{id:#x}\t{}ms", session.timeout_ms)?;
        }
        let tree = state.tree();
        writeln!(out, "ephemeral nodes dump:")?;
        let owners: Vec<i64> = tree.ephemeral_sessions().collect();
        writeln!(out, "Sessions with Ephemerals ({}):", owners.len())?;
        for owner in owners {
            writeln!(out, "{owner:#x}:")?;
            for path in tree.ephemerals(owner, "") {
                writeln!(out, "\t{path}")?;
            }
        }
        Ok(())
    })?;
    writeln!(out, "Connections dump:")?;
    let lines = desk.connections();
    writeln!(out, "Connections Sets (1)/({}):", lines.len())?;
    for line in lines {
        let (peer, session) = (line.peer, line.session());
        writeln!(out, "\tip: /{peer} sessionId: {session:#x}")?;
    }
    Ok(())
}

fn watches(desk: &Desk, word: Word, out: &mut String) -> fmt::Result {
    if word == Word::Wchs {
        let counts = desk.watches().counts();
        let (watchers, paths) = (counts.watchers, counts.paths);
        writeln!(out, "{watchers} connections watching {paths} paths")?;
        return writeln!(out, "Total watches:{}", counts.watches);
    }
    let lines = desk.connections();
    let session = |watcher: u64| {
        let line = lines.iter().find(|line| line.id == watcher);
        line.map_or(0, |line| line.session())
    };
    let watches = desk.watches();
    let by_path = watches.by_path();
    if word == Word::Wchp {
        for (path, watchers) in &by_path {
            writeln!(out, "{path}")?;
            for &watcher in watchers {
                writeln!(out, "\t{:#x}", session(watcher))?;
            }
        }
        return writeln!(out);
    }
    for line in &lines {
        let mut paths = by_path
            .iter()
            .filter(|(_, watchers)| watchers.contains(&line.id))
            .peekable();
        if paths.peek().is_some() {
            writeln!(out, "{:#x}", line.session())?;
        }
        for (path, _) in paths {
            writeln!(out, "\t{path}")?;
        }
    }
    writeln!(out)
}

/// Bytes of the files in a folder and one level below it.
pub(super) fn bytes_below(folder: &Path) -> u64 {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| entry.metadata().map_or(0, |facts| facts.len());
    entries(folder)
        .map(|entry| {
            let below: u64 = entries(&entry.path()).map(bytes).sum();
            bytes(entry) + below
        })
        .sum()
}
