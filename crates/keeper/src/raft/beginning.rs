//! What a member begins with: its disk, its links, and the first list of members.
//!
//! Prevents a member that begins with less than it promised: what is damaged keeps it from
//! starting.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, PoisonError};

use mainstay_core::random::Random;
use openraft::Raft;
use tokio::task::JoinSet;

use super::engine::{Engine, Member, Members, members_of};
use super::frame::{Greeting, Lane};
use super::incarnation;
use super::link::Link;
use super::machine::Machine;
use super::network::{Links, Peer};
use super::quarantine::marked;
use super::store::{Store, Writing};
use crate::disk::SharedDisk;
use crate::log::Log;
use crate::member::{MemberConfig, MemberError, PeerConfig};
use crate::network::Network;
use crate::process::{blocking, own};
use crate::proposal::Origin;
use crate::state::{Sink, State, Told};
use crate::tree::Event;

/// What a member finds on its disk.
pub(super) struct Recovered<D> {
    pub(super) origin: Origin,
    pub(super) store: Store,
    pub(super) writing: Writing,
    pub(super) machine: Machine<D>,
}

pub(super) async fn recover<D: SharedDisk>(
    member: &MemberConfig,
    disk: D,
    sink: impl Sink + Send + 'static,
    salts: u64,
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
        let (log, recovered) = Log::open(disk.clone(), salts, limits).map_err(MemberError::Log)?;
        let sink = Box::new(Locked(Mutex::new(sink)));
        let machine = Machine::recover(disk, origin, sink).map_err(MemberError::Disk)?;
        let (store, writing) = Store::start(log, &recovered).map_err(MemberError::Disk)?;
        Ok(Recovered {
            origin,
            store,
            writing,
            machine,
        })
    };
    blocking(recover)
        .await
        .unwrap_or_else(|died| Err(MemberError::Disk(io::Error::other(died))))
}

/// Links to all other members.
pub(super) fn links<D, N: Network>(
    member: &MemberConfig,
    network: &N,
    greeting: &Greeting,
    (random, tasks): (&mut Random, &mut JoinSet<()>),
) -> Links<D> {
    let mut peers = BTreeMap::new();
    for (&id, peer) in &member.members {
        if id == member.member {
            continue;
        }
        let mut link = |lane| {
            let greeting = Greeting {
                wanted: id,
                lane,
                ..greeting.clone()
            };
            let random = Random::seeded(random.bits());
            let (link, carrier) =
                Link::new(network.clone(), peer.address.clone(), greeting, random);
            tasks.spawn(own(carrier));
            link
        };
        let peer = Peer {
            control: link(Lane::Control),
            bulk: link(Lane::Bulk),
        };
        peers.insert(id, peer);
    }
    Links::new(peers)
}

/// A new ensemble: every member begins with the same list, which makes the same first entry.
pub(super) async fn initialise<D: SharedDisk>(
    raft: &Raft<Engine, Machine<D>>,
    member: &MemberConfig,
) -> Result<(), MemberError> {
    let engine = |error: &dyn ToString| MemberError::Engine(error.to_string());
    if raft
        .is_initialized()
        .await
        .map_err(|error| engine(&error))?
    {
        return Ok(());
    }
    let members = nodes(&member.members);
    if let Err(error) = raft.initialize(members).await {
        // Another member was faster, and its log came here meanwhile.
        if !raft
            .is_initialized()
            .await
            .map_err(|error| engine(&error))?
        {
            return Err(engine(&error));
        }
    }
    Ok(())
}

fn nodes(peers: &BTreeMap<u64, PeerConfig>) -> BTreeMap<u64, Member> {
    let node = |peer: &PeerConfig| Member {
        address: peer.address.clone(),
        line: peer.line.clone(),
    };
    peers.iter().map(|(&id, peer)| (id, node(peer))).collect()
}

/// The first list of members as a snapshot has it, for data that come from elsewhere.
///
/// # Errors
///
/// [`MemberError::Engine`] when the engine does not take the list.
pub(crate) fn members(peers: &BTreeMap<u64, PeerConfig>) -> Result<Vec<u8>, MemberError> {
    let voters: BTreeSet<u64> = peers.keys().copied().collect();
    let members = Members::new(vec![voters], nodes(peers));
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
