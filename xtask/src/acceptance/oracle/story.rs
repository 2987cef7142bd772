//! A story: what clients do, drawn from a seed.
//!
//! Prevents a stream in which nothing ever meets: there are few paths, so that most of what is
//! asked concerns something that somebody else has made, watches or has just removed.

use std::collections::VecDeque;

use mainstay_zk_proto::Opcode;

use super::ask::{AS_IT_STANDS, Ask, Entry, Watched};

/// Clients at once.
pub(super) const CLIENTS: usize = 4;
/// Most requests that one client sends before another has its turn.
const RUN_MAX: u64 = 24;
/// Most paths that are remembered because a server made them.
const KNOWN_MAX: usize = 48;

/// One deed of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) client: usize,
    pub(super) deed: Deed,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// It asks something.
    Ask(Ask),
    /// It begins a session that may be silent for so long.
    Connect { timeout_ms: i32 },
    /// It loses its connection.
    Cut,
    /// It comes back to its session, with these watches.
    Return(Watched),
    /// Somebody comes to its session with a wrong password.
    Guess,
}

/// Numbers that follow from a seed: `SplitMix64`.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many of a hundred cases.
    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len() as u64);
        &all[usize::try_from(at).unwrap_or_default()]
    }
}

/// What one client watches by. ZooKeeper 3.8 mixes up several kinds of one client on one path
/// (ZOOKEEPER-4466), so that each client keeps to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Once,
    Persistent,
    Recursive,
}

const KINDS: [Kind; CLIENTS] = [Kind::Once, Kind::Once, Kind::Persistent, Kind::Recursive];

/// What is drawn from.
#[derive(Debug)]
pub(super) struct Story {
    dice: Dice,
    /// How the client watches whose turn it is.
    kind: Kind,
    known: VecDeque<String>,
}

const NAMES: &[&str] = &["a", "b", "c", "d"];
const WRONG_PATHS: &[&str] = &[
    "!",
    "!a",
    "!a/b",
    "/a/",
    "!//",
    "/a//b",
    "/a/./b",
    "/a/..",
    "/..",
    "/\0",
    "/a\u{1}",
    "/\u{7f}",
    "/\u{d7ff}",
    "/\u{e000}",
    "/\u{fff0}",
    "/\u{1f600}",
];
/// Nodes of the servers themselves; nothing is made below them, for they outlive the chapter.
const OWN_PATHS: &[&str] = &["!/", "!/zookeeper", "!/zookeeper/quota"];

const OPEN: &[Entry] = &[(31, "world", "anyone")];
/// `user:password` and what access lists hold of it.
const ALICE: (&str, &str) = ("alice:secret", "alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E=");
const BOB: (&str, &str) = ("bob:secret", "bob:fyVmFCwVbTJYrznoSu1koqYEYF0=");
const LISTS: &[&[Entry]] = &[
    OPEN,
    &[(1, "world", "anyone")],
    &[(31, "auth", "")],
    &[(31, "digest", ALICE.1)],
    &[(1, "world", "anyone"), (31, "digest", BOB.1)],
    &[(31, "ip", "127.0.0.1")],
    &[(31, "ip", "10.0.0.0/8"), (17, "world", "anyone")],
    &[(31, "world", "anyone"), (31, "world", "anyone")],
    &[
        (3, "digest", ALICE.1),
        (12, "digest", BOB.1),
        (1, "auth", "x"),
    ],
    &[(30, "world", "anyone")],
    &[(23, "world", "anyone")],
    &[],
    &[(31, "world", "nobody")],
    &[(31, "digest", "no colon")],
    &[(31, "magic", "anyone")],
    &[(31, "ip", "not an address")],
    &[(0, "world", "anyone")],
    &[(64, "world", "anyone")],
];

impl Story {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            kind: Kind::Once,
            known: VecDeque::new(),
        }
    }

    /// A server made a node of this path.
    pub(super) fn learn(&mut self, path: String) {
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(path);
    }

    /// What happens next; `connected` says of each client whether it is.
    pub(super) fn next(&mut self, connected: [bool; CLIENTS]) -> Vec<Step> {
        let client = usize::try_from(self.dice.below(CLIENTS as u64)).unwrap_or_default();
        self.kind = KINDS[client];
        let step = |deed| Step { client, deed };
        if !connected[client] {
            return vec![step(self.arrive())];
        }
        if self.dice.percent(2) {
            return vec![step(Deed::Cut)];
        }
        let run = 1 + self.dice.below(RUN_MAX);
        let mut steps: Vec<Step> = (0..run).map(|_| step(Deed::Ask(self.ask()))).collect();
        if self.dice.percent(2) {
            steps.push(step(Deed::Ask(Ask::new(Opcode::CloseSession, "", 0))));
        }
        steps
    }

    fn arrive(&mut self) -> Deed {
        match self.dice.below(100) {
            0..60 => {
                let paths = |story: &mut Self| {
                    let count = story.dice.below(4);
                    (0..count).map(|_| story.valid_path()).collect()
                };
                let mut watched = Watched::default();
                match self.kind {
                    Kind::Once => {
                        watched.data = paths(self);
                        watched.exist = paths(self);
                        watched.children = paths(self);
                    },
                    Kind::Persistent => watched.persistent = paths(self),
                    Kind::Recursive => watched.recursive = paths(self),
                }
                Deed::Return(watched)
            },
            60..65 => Deed::Guess,
            _ => Deed::Connect {
                timeout_ms: *self.dice.of(&[0, 1, 100_000, 500_000, i32::MAX, -1]),
            },
        }
    }

    fn ask(&mut self) -> Ask {
        let dice = self.dice.below(1_000);
        match dice {
            0..230 => self.create(),
            230..350 => self.versioned(Opcode::Delete),
            350..460 => self.set_data(),
            460..570 => self.read(Opcode::GetData),
            570..650 => self.read(Opcode::Exists),
            650..700 => self.read(Opcode::GetChildren),
            700..740 => self.read(Opcode::GetChildren2),
            740..770 => self.of(Opcode::GetAcl),
            770..810 => self.set_acl(),
            810..880 => self.multi(),
            880..900 => self.multi_read(),
            900..925 => self.add_watch(),
            925..945 => self.of_watch(Opcode::RemoveWatches),
            945..955 => self.of_watch(Opcode::CheckWatches),
            955..962 => self.of(Opcode::GetEphemerals),
            962..969 => self.of(Opcode::GetAllChildrenNumber),
            // ZooKeeper would send back a wrong path in an encoding that is not UTF-8.
            969..975 => Ask::new(Opcode::Sync, self.valid_path(), 0),
            975..988 => self.auth(),
            988..993 => Ask::new(Opcode::WhoAmI, "", 0),
            993..997 => Ask::new(Opcode::Reconfig, "server.9=localhost:1:2", -1),
            _ => Ask::new(Opcode::Ping, "", 0),
        }
    }

    fn valid_path(&mut self) -> String {
        let known = (!self.known.is_empty()).then(|| {
            let at = self.dice.below(self.known.len() as u64);
            self.known[usize::try_from(at).unwrap_or_default()].clone()
        });
        match (self.dice.below(10), known) {
            (0..3, Some(known)) => known,
            (3, Some(known)) => format!("{known}/{}", self.dice.of(NAMES)),
            (4, _) => "/".to_owned(),
            _ => {
                let depth = 1 + self.dice.below(3);
                (0..depth).fold(String::new(), |path, _| {
                    format!("{path}/{}", self.dice.of(NAMES))
                })
            },
        }
    }

    fn path(&mut self) -> String {
        match self.dice.below(100) {
            0..3 => (*self.dice.of(WRONG_PATHS)).to_owned(),
            3..5 => (*self.dice.of(OWN_PATHS)).to_owned(),
            _ => self.valid_path(),
        }
    }

    fn version(&mut self) -> i32 {
        match self.dice.below(20) {
            0..12 => -1,
            12..19 => i32::try_from(self.dice.below(4)).unwrap_or_default(),
            _ => *self.dice.of(&[-2, i32::MAX, i32::MIN, 100]),
        }
    }

    fn data(&mut self) -> Option<Vec<u8>> {
        let length = match self.dice.below(20) {
            0 => return None,
            1..4 => 0,
            4..19 => self.dice.below(12),
            _ => self.dice.below(3_000),
        };
        Some(
            (0..length)
                .map(|_| self.dice.next().to_le_bytes()[0])
                .collect(),
        )
    }

    fn acl(&mut self) -> Vec<Entry> {
        if self.dice.percent(60) {
            OPEN.to_vec()
        } else {
            self.dice.of(LISTS).to_vec()
        }
    }

    fn create(&mut self) -> Ask {
        let (opcode, flags) = match self.dice.below(100) {
            0..80 => {
                let opcode = *self.dice.of(&[Opcode::Create, Opcode::Create2]);
                (opcode, *self.dice.of(&[0, 0, 0, 1, 1, 2, 3, 4]))
            },
            80..88 => (Opcode::CreateContainer, 4),
            88..97 => (Opcode::CreateTtl, *self.dice.of(&[5, 6])),
            // Not with a time to live: that of a node without one ends ZooKeeper 3.8.
            _ => {
                let all = [Opcode::Create, Opcode::CreateContainer];
                let flags = [-1, 0, 1, 3, 4, 5, 6, 7, 99];
                (*self.dice.of(&all), *self.dice.of(&flags))
            },
        };
        let mut path = self.path();
        // What is made beside the servers' own nodes would outlive the chapter.
        if path.starts_with(AS_IT_STANDS) && !matches!(flags, 0 | 1 | 4) {
            path = self.valid_path();
        }
        // A node that is named by its number may be asked for with a slash at the end.
        if matches!(flags, 2 | 3) && self.dice.percent(20) {
            path.push('/');
        }
        let mut ask = Ask::new(opcode, path, flags);
        ask.data = self.data();
        ask.acl = self.acl();
        if opcode == Opcode::CreateTtl {
            ask.ttl_ms = *self.dice.of(&[1 << 30, 1 << 39, 0, -1, 1 << 40, i64::MAX]);
        }
        ask
    }

    fn versioned(&mut self, opcode: Opcode) -> Ask {
        let path = self.path();
        Ask::new(opcode, path, self.version())
    }

    fn set_data(&mut self) -> Ask {
        let mut ask = self.versioned(Opcode::SetData);
        ask.data = self.data();
        ask
    }

    fn set_acl(&mut self) -> Ask {
        let mut ask = self.versioned(Opcode::SetAcl);
        ask.acl = self.acl();
        ask
    }

    fn read(&mut self, opcode: Opcode) -> Ask {
        let path = self.path();
        let is_watched = self.kind == Kind::Once && self.dice.percent(40);
        Ask::new(opcode, path, i32::from(is_watched))
    }

    fn of(&mut self, opcode: Opcode) -> Ask {
        let path = self.path();
        Ask::new(opcode, path, 0)
    }

    fn multi(&mut self) -> Ask {
        let count = self.dice.below(6);
        let mut ask = Ask::new(Opcode::Multi, "", 0);
        for _ in 0..count {
            let part = match self.dice.below(10) {
                0..5 => self.create_in_multi(),
                5..7 => self.versioned(Opcode::Delete),
                7..9 => self.set_data(),
                _ => self.versioned(Opcode::Check),
            };
            ask.parts.push(part);
        }
        ask
    }

    /// ZooKeeper breaks a whole multi off when it comes to a time to live in the wrong operation.
    fn create_in_multi(&mut self) -> Ask {
        let mut part = self.create();
        if part.opcode != Opcode::CreateTtl && matches!(part.number, 5 | 6) {
            part.number = 0;
        }
        part
    }

    fn multi_read(&mut self) -> Ask {
        let count = self.dice.below(5);
        let mut ask = Ask::new(Opcode::MultiRead, "", 0);
        for _ in 0..count {
            let opcode = *self.dice.of(&[Opcode::GetData, Opcode::GetChildren]);
            let part = self.of(opcode);
            ask.parts.push(part);
        }
        ask
    }

    fn add_watch(&mut self) -> Ask {
        let path = self.path();
        match self.kind {
            Kind::Once => Ask::new(Opcode::WhoAmI, "", 0),
            Kind::Persistent => Ask::new(Opcode::AddWatch, path, 0),
            Kind::Recursive => Ask::new(Opcode::AddWatch, path, 1),
        }
    }

    fn of_watch(&mut self, opcode: Opcode) -> Ask {
        let path = self.path();
        let kind = match self.kind {
            Kind::Once => *self.dice.of(&[1, 2, 3, 3]),
            // Before 3.9 there was no other word for them.
            Kind::Persistent | Kind::Recursive => 3,
        };
        Ask::new(opcode, path, kind)
    }

    fn auth(&mut self) -> Ask {
        let (scheme, proof) = match self.dice.below(20) {
            0..9 => ("digest", ALICE.0),
            9..18 => ("digest", BOB.0),
            18 => ("digest", "super:test"),
            _ => *self
                .dice
                .of(&[("magic", "x"), ("ip", ""), ("digest", "nocolon")]),
        };
        let mut ask = Ask::new(Opcode::Auth, scheme, 0);
        ask.data = Some(proof.as_bytes().to_vec());
        ask
    }
}
