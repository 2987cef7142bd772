//! The links to all other members, which come and go with the ensemble.
//!
//! Prevents a link to somebody who is gone from being tried for ever, and one that leads to where
//! a member was: each member has one address by the newest list, and those of older lists are
//! tried when nobody is there. Who answers says who it is, so that a wrong one does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_core::random::Random;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::task::JoinSet;

use super::engine::{Engaged, Members};
use super::frame::{Greeting, Lane};
use super::link::{Addresses, Link};
use super::seat::Seats;
use crate::disk::SharedDisk;
use crate::network::Network;
use crate::process::own;

/// The links to one member.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// For what is small and urgent.
    pub(super) control: Link,
    /// For what is large.
    pub(super) bulk: Link,
    /// Up to where this member, as a leader, told it what it holds.
    pub(super) told: Arc<AtomicU64>,
    addresses: Addresses,
}

/// The links to all other members; clones are the same links.
#[derive(Clone, Debug)]
pub(super) struct Links(Arc<Shared>);

struct Shared {
    peers: Mutex<BTreeMap<u64, Peer>>,
    make: Box<dyn Fn(u64, Addresses) -> Peer + Send + Sync>,
    /// Where members are by the file that this member began with.
    listed: BTreeMap<u64, String>,
    member: u64,
    seats: Arc<Seats>,
    /// Snapshots that are being sent.
    snapshots: AtomicUsize,
}

/// A snapshot that is being sent, until this is dropped.
#[derive(Debug)]
pub(super) struct Sending(Arc<Shared>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.snapshots.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers: Vec<u64> = self.peers().keys().copied().collect();
        f.debug_struct("Links")
            .field("peers", &peers)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes links of a network; what carries them ends with the maker.
fn maker<N: Network>(
    network: N,
    greeting: Greeting,
    (seats, random): (Arc<Seats>, Random),
) -> impl Fn(u64, Addresses) -> Peer + Send + Sync {
    let making = Mutex::new((random, JoinSet::new()));
    move |id, addresses| {
        let mut making = making.lock().unwrap_or_else(PoisonError::into_inner);
        let (random, carriers) = &mut *making;
        // Of those whose members are gone nobody needs to hear.
        while carriers.try_join_next().is_some() {}
        let mut link = |lane| {
            let greeting = Greeting {
                wanted: id,
                lane,
                ..greeting.clone()
            };
            let known = (greeting, Arc::clone(&seats));
            let random = Random::seeded(random.bits());
            let (link, carrier) = Link::new(network.clone(), addresses.clone(), known, random);
            carriers.spawn(own(carrier));
            link
        };
        Peer {
            control: link(Lane::Control),
            bulk: link(Lane::Bulk),
            told: Arc::default(),
            addresses: addresses.clone(),
        }
    }
}

impl Links {
    /// Links to those in the list, for `greeting.member`.
    pub(super) fn new<N: Network>(
        network: N,
        greeting: Greeting,
        listed: BTreeMap<u64, String>,
        (seats, random): (Arc<Seats>, Random),
    ) -> Self {
        let member = greeting.member;
        let links = Self(Arc::new(Shared {
            peers: Mutex::default(),
            make: Box::new(maker(network, greeting, (Arc::clone(&seats), random))),
            listed,
            seats,
            member,
            snapshots: AtomicUsize::new(0),
        }));
        for id in links.0.listed.keys() {
            links.ensure(*id, None);
        }
        links
    }

    /// Who is known with which data folder.
    pub(super) fn seats(&self) -> &Arc<Seats> {
        &self.0.seats
    }

    /// The links to `member`.
    pub(super) fn to(&self, member: u64) -> Option<Peer> {
        self.0.peers().get(&member).cloned()
    }

    /// The links to all others.
    pub(super) fn all(&self) -> BTreeMap<u64, Peer> {
        self.0.peers().clone()
    }

    /// The links to `member`, which is at `address` as far as the ensemble knows.
    pub(super) fn ensure(&self, member: u64, address: Option<&str>) -> Option<Peer> {
        if member == self.0.member {
            return None;
        }
        let listed = self.0.listed.get(&member).map(String::as_str);
        let mut places: Vec<String> = Vec::new();
        for place in address.into_iter().chain(listed) {
            if !place.is_empty() && !places.iter().any(|known| known == place) {
                places.push(place.to_owned());
            }
        }
        let mut peers = self.0.peers();
        let peer = peers
            .entry(member)
            .or_insert_with(|| (self.0.make)(member, Addresses::default()));
        if peer.addresses.set(places) {
            peer.control.try_again();
            peer.bulk.try_again();
        }
        Some(peer.clone())
    }

    /// There are members that are not in `members`: nobody speaks to them any more.
    fn retain(&self, members: &BTreeSet<u64>) {
        self.0.peers().retain(|id, _| members.contains(id));
    }

    /// A snapshot is being sent.
    pub(super) fn sending(&self) -> Sending {
        self.0.snapshots.fetch_add(1, Ordering::Relaxed);
        Sending(Arc::clone(&self.0))
    }

    /// Whether snapshots are being sent.
    pub(super) fn are_sending(&self) -> bool {
        self.0.snapshots.load(Ordering::Relaxed) > 0
    }

    /// Follows the ensemble's own list.
    fn follow(&self, members: &Members, was_changed: bool) {
        for (&id, node) in members.nodes() {
            self.ensure(id, Some(&node.address));
        }
        let belongs = members.get_node(&self.0.member).is_some();
        if was_changed && belongs {
            self.retain(&members.nodes().map(|(&id, _)| id).collect());
        }
    }
}

/// Makes and drops links as members come and go, until the engine ends.
pub(super) async fn follow<D: SharedDisk>(links: Links, raft: Engaged<D>) {
    let mut metrics = raft.server_metrics();
    let mut last = None;
    loop {
        let members = Arc::clone(&metrics.borrow_watched().membership_config);
        if last.as_ref() != Some(&members) {
            let was_changed = members.log_id().as_ref().is_some_and(|id| id.index() > 0);
            links.follow(members.membership(), was_changed);
            last = Some(members);
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
