//! What a member begins with: its disk, and who it was told belongs to the ensemble.
//!
//! Prevents a member that begins with less than it promised: what is damaged keeps it from
//! starting.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::engine::{Absent, Member, Members, members_of, to_members};
use super::incarnation;
use super::machine::Machine;
use super::quarantine::marked;
use super::seat::Seats;
use super::store::{Store, Writing};
use crate::disk::SharedDisk;
use crate::log::{EntryKind, Log};
use crate::member::{MemberConfig, MemberError, NOWHERE, PeerConfig};
use crate::process::blocking;
use crate::proposal::Origin;
use crate::state::{Sink, State, Told};
use crate::tree::Event;

/// What a member finds on its disk.
pub(super) struct Recovered<D> {
    pub(super) origin: Origin,
    pub(super) store: Store,
    pub(super) writing: Writing,
    pub(super) machine: Machine<D>,
    pub(super) seats: Arc<Seats>,
    /// The newest list of members that it knows of.
    pub(super) members: Members,
}

pub(super) async fn recover<D: SharedDisk>(
    member: &MemberConfig,
    disk: D,
    sink: impl Sink + Send + 'static,
    (salts, fresh): (u64, u64),
) -> Result<Recovered<D>, MemberError> {
    let time_ms = (member.time_ms)();
    let (id, limits) = (member.member, member.log);
    let recover = move || {
        if let Some(index) = marked(&disk).map_err(MemberError::Disk)? {
            return Err(MemberError::Diverged(index));
        }
        let incarnation = incarnation::next(&disk, time_ms).map_err(MemberError::Disk)?;
        let origin = Origin {
            member: id.cast_signed(),
            incarnation,
        };
        let seats =
            Seats::open(&disk, id, (fresh >> 1).cast_signed()).map_err(MemberError::Disk)?;
        let (log, recovered) = Log::open(disk.clone(), salts, limits).map_err(MemberError::Log)?;
        let sink = Box::new(Locked(Mutex::new(sink)));
        let machine = Machine::recover(disk, origin, sink).map_err(MemberError::Disk)?;
        let members = newest_members(&recovered, &machine)?;
        let (store, writing) = Store::start(log, &recovered).map_err(MemberError::Disk)?;
        Ok(Recovered {
            origin,
            store,
            writing,
            machine,
            seats: Arc::new(seats),
            members,
        })
    };
    blocking(recover)
        .await
        .unwrap_or_else(|died| Err(MemberError::Disk(io::Error::other(died))))
}

/// The list of members that the log ends with; when it has none, that of the snapshot.
fn newest_members<D: SharedDisk>(
    recovered: &crate::log::Recovered,
    machine: &Machine<D>,
) -> Result<Members, MemberError> {
    let entries = recovered.entries.iter().rev();
    let mut lists = entries.filter(|entry| entry.kind == EntryKind::Membership);
    match lists.next() {
        Some(entry) => to_members(&entry.payload)
            .map_err(|malformed| MemberError::Disk(io::Error::other(malformed))),
        None => Ok(machine.members()),
    }
}

/// Where a member listens for others: what its list says, or else the ensemble's own list.
pub(super) fn own_address(member: &MemberConfig, known: &Members) -> Result<String, MemberError> {
    if was_alone(member, known) {
        return Err(MemberError::WasAlone(member.member));
    }
    let listed = member.members.get(&member.member);
    let listed = listed.map(|peer| peer.address.clone());
    let known = known.get_node(&member.member);
    listed
        .or_else(|| known.map(|node| node.address.clone()))
        .ok_or(MemberError::NotListed(member.member))
}

/// A member whose ensemble was itself alone has no place where others could reach it. When its list
/// names others now, they would wait for it for ever, and it would go on without them.
fn was_alone(member: &MemberConfig, known: &Members) -> bool {
    let mut nodes = known.nodes().map(|(_, node)| node.address.as_str());
    member.members.len() > 1 && nodes.next() == Some(NOWHERE) && nodes.next().is_none()
}

/// Where the other members are, as the list says.
pub(super) fn addresses(member: &MemberConfig) -> BTreeMap<u64, String> {
    let others = member
        .members
        .iter()
        .filter(|(id, _)| **id != member.member);
    others
        .map(|(&id, peer)| (id, peer.address.clone()))
        .collect()
}

/// Those of the list who have a vote, or those who have none.
pub(super) fn listed(peers: &BTreeMap<u64, PeerConfig>, observers: bool) -> BTreeMap<u64, Member> {
    let some = peers.iter();
    let some = some.filter(|(_, peer)| peer.is_observer() == observers);
    some.map(|(&id, peer)| {
        let member = Member {
            address: peer.address.clone(),
            line: peer.line.clone(),
            is_listed: true,
            absent: Absent::new(),
        };
        (id, member)
    })
    .collect()
}

/// The first list of members as a snapshot has it, for data that come from elsewhere.
///
/// # Errors
///
/// [`MemberError::Engine`] when the engine does not take the list.
pub(crate) fn members(peers: &BTreeMap<u64, PeerConfig>) -> Result<Vec<u8>, MemberError> {
    let mut nodes = listed(peers, false);
    let voters: BTreeSet<u64> = nodes.keys().copied().collect();
    nodes.extend(listed(peers, true));
    let members = Members::new(vec![voters], nodes);
    let members = members.map_err(|error| MemberError::Engine(error.to_string()))?;
    Ok(members_of(&members))
}

/// A sink that need not be shared by itself: only the state machine speaks to it.
struct Locked<S>(Mutex<S>);

impl<S> Locked<S> {
    fn sink(&mut self) -> &mut S {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Sink> Sink for Locked<S> {
    fn event(&mut self, event: &Event, zxid: i64) {
        self.sink().event(event, zxid);
    }

    fn session_over(&mut self, session: i64) {
        self.sink().session_over(session);
    }

    fn applied(&mut self, state: &State, told: Told<'_>) {
        self.sink().applied(state, told);
    }

    fn replaced(&mut self, state: &State) {
        self.sink().replaced(state);
    }

    fn settled(&mut self) {
        self.sink().settled();
    }
}
