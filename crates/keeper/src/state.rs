//! The replicated state: tree, sessions, and what was applied so far.
//!
//! Prevents an operation that is applied twice, by a session that is over, or by a member that the
//! session has left. What is told to whom comes out through a [`Sink`], in the order in which
//! clients must see it: first the events, then the answer to who caused them.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_zk_proto::jute::Malformed;
use mainstay_zk_proto::opcode::Opcode;
use mainstay_zk_proto::{Code, Request};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::planted::{self, Bug};
use crate::proposal::{Action, Batch, Entry, Operation, Origin, Password};
use crate::session::{Session, Sessions};
#[cfg(doc)]
use crate::tree::CONFIG;
use crate::tree::{Change, Done, Event, ForeignNode, Stamp, Tree};

/// The number of the transaction by which an ensemble begins. To ZooKeeper it is the first of the
/// first epoch, and clients look for that in the version of the list of members.
const BEGINNING: i64 = 1 << 32;

mod frozen;
mod progress;

pub use frozen::{FrozenState, LoadError, Loader};

use progress::Progress;

/// Who hears what was applied.
pub trait Sink {
    /// Something that watchers hear of, and the transaction that caused it.
    fn event(&mut self, event: &Event, zxid: i64);

    /// A session is over; its connection, if it is here, has to go.
    fn session_over(&mut self, session: i64);

    /// What became of an operation; `state` is as it left it.
    fn applied(&mut self, state: &State, told: Told<'_>);

    /// A snapshot of the ensemble took the state's place: this member was too far behind. What
    /// happened between was not told. Of proposals up to
    /// [`applied_of`](State::applied_of), nobody here will learn what they did, and watches may
    /// have missed events: whoever has clients must let go of them, so that they come again.
    fn replaced(&mut self, _state: &State) {}

    /// Nothing more is to be applied just now: whoever was told may be woken.
    fn settled(&mut self);
}

/// What became of an operation.
#[derive(Debug)]
pub struct Told<'a> {
    /// Where it came from.
    pub origin: Origin,
    /// The operation.
    pub operation: &'a Operation<'a>,
    /// The transaction that it was.
    pub zxid: i64,
    /// What it did.
    pub result: Applied,
}

/// What an operation did, or why it did nothing.
pub type Applied = Result<Effect, Code>;

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A write of the tree.
    Tree(Done),
    /// A session began, or goes on here.
    Session {
        /// How long it may be silent.
        timeout_ms: i32,
    },
    /// A session ended, or a node went.
    Gone,
}

/// The state.
#[derive(Debug, Default)]
pub struct State {
    tree: Tree,
    sessions: Sessions,
    progress: BTreeMap<i64, Progress>,
    zxid: i64,
    time_ms: i64,
    /// Reused from operation to operation.
    events: Vec<Event>,
}

impl State {
    /// The state that every ensemble begins with.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state that another program kept: its nodes, parents first, and its sessions, which are at
    /// no member yet.
    ///
    /// # Errors
    ///
    /// The path of a node whose parent is not there.
    pub(crate) fn imported(
        nodes: impl Iterator<Item = ForeignNode>,
        sessions: impl Iterator<Item = (i64, i32, Password)>,
        zxid: i64,
        time_ms: i64,
    ) -> Result<Self, String> {
        let mut state = Self {
            tree: Tree::of_nodes(nodes)?,
            zxid,
            time_ms,
            ..Self::default()
        };
        for (id, timeout_ms, password) in sessions {
            let session = Session {
                password,
                timeout_ms,
                // Nobody's: members' numbers begin with 0.
                member: -1,
                attached: 0,
            };
            let opened = state.sessions.open(id, session);
            debug_assert_eq!(opened, Ok(()), "a session is told once");
        }
        Ok(state)
    }

    /// The tree.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The sessions.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The newest transaction.
    pub const fn zxid(&self) -> i64 {
        self.zxid
    }

    /// The time of the newest entry, milliseconds since 1970; never goes back.
    pub const fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// What all of it amounts to: the same at members that applied the same.
    pub fn digest(&self) -> u64 {
        let mix = |so_far: u64, first: u64, second: u64| {
            let both = (u128::from(first) << 64) | u128::from(second);
            xxh3_64_with_seed(&both.to_be_bytes(), so_far)
        };
        let content = mix(0, self.tree.digest(), self.sessions.digest());
        let stamped = mix(
            content,
            self.zxid.cast_unsigned(),
            self.time_ms.cast_unsigned(),
        );
        self.progress.iter().fold(stamped, |so_far, (member, at)| {
            let so_far = mix(
                so_far,
                member.cast_unsigned(),
                at.incarnation.cast_unsigned(),
            );
            mix(so_far, at.sequence.cast_unsigned(), 0)
        })
    }

    /// The number of the last operation of `origin` that was applied; zero when none was.
    pub fn applied_of(&self, origin: Origin) -> i64 {
        self.progress
            .get(&origin.member)
            .filter(|progress| progress.incarnation == origin.incarnation)
            .map_or(0, |progress| progress.applied())
    }

    /// Applies an entry of the log that was written in `term`.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: the log is damaged or of a newer version. Whoever goes on would drift.
    pub fn apply(&mut self, entry: &[u8], term: i64, sink: &mut dyn Sink) -> Result<(), Malformed> {
        let entry = Entry::read(entry)?;
        // A leader whose clock is behind does not take time back.
        self.time_ms = self.time_ms.max(entry.time_ms);
        self.tree.enforce_quotas(entry.enforce_quota);
        for batch in entry.batches {
            let batch = Batch::read(batch)?;
            for operation in &batch.operations {
                self.once(batch.origin, operation, term, sink);
            }
        }
        Ok(())
    }

    /// The ensemble has these members from now on, as `server.N=…` lines: clients find them in
    /// [`CONFIG`], and its watchers hear. A transaction of its own; where the ensemble begins, it is
    /// ZooKeeper's first.
    pub(crate) fn set_members(&mut self, lines: &str, sink: &mut dyn Sink) {
        let (now, _) = self.members();
        if lines.is_empty() || now == lines {
            return;
        }
        let before = numbers(now);
        // Those who have no vote join in a step of their own, before any client comes.
        self.zxid = match self.zxid {
            0 | BEGINNING => BEGINNING,
            zxid => zxid + 1,
        };
        self.write_members(lines);
        let after = numbers(lines);
        for left in before.difference(&after) {
            self.progress
                .get_mut(left)
                .into_iter()
                .for_each(Progress::leave);
        }
        for event in self.events.drain(..) {
            sink.event(&event, self.zxid);
        }
    }

    /// What was imported belongs to these members: that is part of the import, and no transaction.
    pub(crate) fn belong_to(&mut self, lines: &str) {
        self.write_members(lines);
        self.events.clear();
    }

    fn write_members(&mut self, lines: &str) {
        let stamp = Stamp {
            zxid: self.zxid,
            time_ms: self.time_ms,
        };
        // A server that is alone has no list.
        let text = match lines {
            "" => String::new(),
            lines => format!("{lines}version={:x}", stamp.zxid),
        };
        self.tree.set_config(&text, stamp, &mut self.events);
    }

    /// The version of the list of members.
    pub(crate) fn members_version(&self) -> i64 {
        self.members().1
    }

    /// The members as `server.N=…` lines; none when this one is alone.
    pub(crate) fn member_lines(&self) -> &str {
        self.members().0
    }

    /// The lines of the members, and their version.
    fn members(&self) -> (&str, i64) {
        let text = self.tree.config();
        let (lines, last) = text.split_at(text.rfind('\n').map_or(0, |end| end + 1));
        let version = last.strip_prefix("version=");
        let version = version.and_then(|hex| i64::from_str_radix(hex, 16).ok());
        (lines, version.unwrap_or_default())
    }

    fn once(&mut self, origin: Origin, operation: &Operation<'_>, term: i64, sink: &mut dyn Sink) {
        let known = self.progress.get(&origin.member).copied();
        let mut progress = known.unwrap_or_else(|| Progress::new(origin.incarnation));
        if !progress.takes(origin.incarnation, operation.sequence) {
            return;
        }
        self.progress.insert(origin.member, progress);
        self.zxid += 1;
        let stamp = Stamp {
            zxid: self.zxid,
            time_ms: self.time_ms,
        };
        let result = self.act(origin, operation, term, stamp);
        for event in self.events.drain(..) {
            sink.event(&event, stamp.zxid);
        }
        let ended = matches!(operation.action, Action::Close | Action::Expire { .. });
        if ended && result.is_ok() {
            sink.session_over(operation.session);
        }
        let told = Told {
            origin,
            operation,
            zxid: stamp.zxid,
            result,
        };
        sink.applied(self, told);
    }

    fn act(
        &mut self,
        origin: Origin,
        operation: &Operation<'_>,
        term: i64,
        stamp: Stamp,
    ) -> Applied {
        let id = operation.session;
        match &operation.action {
            Action::Request { opcode, body } => {
                self.request(origin, operation, (*opcode, body), stamp)
            },
            Action::Open {
                timeout_ms,
                password,
            } => {
                let session = Session {
                    password: *password,
                    timeout_ms: *timeout_ms,
                    member: origin.member,
                    attached: stamp.zxid,
                };
                self.sessions.open(id, session)?;
                Ok(Effect::Session {
                    timeout_ms: *timeout_ms,
                })
            },
            Action::Attach {
                password,
                timeout_ms,
            } => {
                let seat = Session {
                    password: *password,
                    timeout_ms: *timeout_ms,
                    member: origin.member,
                    attached: stamp.zxid,
                };
                self.sessions.attach(id, &seat)?;
                Ok(Effect::Session {
                    timeout_ms: *timeout_ms,
                })
            },
            Action::Close => {
                self.sessions.check(id, origin.member)?;
                self.end(id, stamp)
            },
            // Another leader gave every session its whole time again, and so did who moved.
            Action::Expire {
                term: noticed,
                attached,
            } => {
                let is_there = |session: &Session| session.attached == *attached;
                if *noticed != term || !self.sessions.get(id).is_none_or(is_there) {
                    return Err(Code::SessionMoved);
                }
                if planted::is(Bug::EphemeralKept) {
                    self.sessions.close(id);
                    return Ok(Effect::Gone);
                }
                self.end(id, stamp)
            },
            Action::Remove { path, mzxid } => {
                self.tree
                    .expire(path, Some(*mzxid), stamp, &mut self.events)?;
                Ok(Effect::Gone)
            },
        }
    }

    fn request(
        &mut self,
        origin: Origin,
        operation: &Operation<'_>,
        (opcode, body): (Opcode, &[u8]),
        stamp: Stamp,
    ) -> Applied {
        self.sessions.check(operation.session, origin.member)?;
        let request = Request::read(opcode, body).map_err(|_| Code::Marshalling)?;
        let change = Change {
            session: operation.session,
            identities: &operation.identities,
            request: &request,
        };
        self.tree
            .apply(change, stamp, &mut self.events)
            .map(Effect::Tree)
    }

    fn end(&mut self, session: i64, stamp: Stamp) -> Applied {
        if !self.sessions.close(session) {
            return Err(Code::SessionExpired);
        }
        self.tree.end_session(session, stamp, &mut self.events);
        Ok(Effect::Gone)
    }
}

/// The numbers of the members in a list of `server.N=…` lines.
fn numbers(lines: &str) -> BTreeSet<i64> {
    let number = |line: &str| {
        line.strip_prefix("server.")?
            .split('=')
            .next()?
            .parse()
            .ok()
    };
    lines.lines().filter_map(number).collect()
}

#[cfg(test)]
mod tests;
